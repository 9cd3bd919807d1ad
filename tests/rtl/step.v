// Whole training steps of the network 8-6-4-3 on datapath s8, by DFA or DRTP, with one multiplier for all sums.
// Weights, masters, biases, feedback and tables come from the hex files of `fasim export`, by $readmemh from the folder
// in which the simulation runs. A batch is written through the ports, `go` starts its step, `done` ends it.
module step #(
    parameter DRTP = 0,          // 0: the error comes through fixed matrices; 1: the label selects a row of them
    parameter N = 2,             // samples of a batch
    parameter RATE = 7,          // the learning rate is 2^-RATE
    parameter DELTA_SHIFT_1 = 14, // fraction bits that delta.1 and delta.2 drop
    parameter DELTA_SHIFT_2 = 13,
    parameter ROUND = 1          // of every cast, see requant.v
) (
    input  wire       clock,
    input  wire       reset,
    input  wire       input_write,
    input  wire [7:0] input_address,  // sample * 8 + input
    input  wire [7:0] input_code,
    input  wire       label_write,
    input  wire [7:0] label_address,
    input  wire [1:0] label_in,
    input  wire       go,
    output reg        done
);
    // layers 0 .. 3; units, and where each layer begins in the memories below
    function integer units(input integer layer);
        units = layer == 0 ? 8 : layer == 1 ? 6 : layer == 2 ? 4 : 3;
    endfunction
    function integer first_act(input integer layer);     // within one sample
        first_act = layer == 0 ? 0 : layer == 1 ? 8 : layer == 2 ? 14 : 18;
    endfunction
    function integer first_weight(input integer layer);
        first_weight = layer == 1 ? 0 : layer == 2 ? 48 : 72;
    endfunction
    function integer first_bias(input integer layer);    // of deltas and slopes too
        first_bias = layer == 1 ? 0 : layer == 2 ? 6 : 10;
    endfunction
    localparam ACTS = 21, UNITS = 13, WEIGHTS = 84;

    reg signed [7:0]  weight [0:WEIGHTS-1];
    reg signed [15:0] master [0:WEIGHTS-1];
    reg signed [15:0] bias [0:UNITS-1];
    reg signed [7:0]  feedback [0:29];                   // feedback.1 (3, 6), then feedback.2 (3, 4)
    reg signed [7:0]  tanh [0:1023];
    reg signed [7:0]  tanh_slope [0:1023];
    reg signed [7:0]  sigmoid [0:1023];
    reg signed [8:0]  act [0:N*ACTS-1];                  // unsigned codes of layer 0 have 8 bits
    reg signed [7:0]  slope [0:N*UNITS-1];
    reg signed [7:0]  delta [0:N*UNITS-1];
    reg [1:0]         label [0:N-1];

    initial begin
        $readmemh("initial/weight.1.hex", weight, 0, 47);
        $readmemh("initial/weight.2.hex", weight, 48, 71);
        $readmemh("initial/weight.3.hex", weight, 72, 83);
        $readmemh("initial/master.1.hex", master, 0, 47);
        $readmemh("initial/master.2.hex", master, 48, 71);
        $readmemh("initial/master.3.hex", master, 72, 83);
        $readmemh("initial/bias.1.hex", bias, 0, 5);
        $readmemh("initial/bias.2.hex", bias, 6, 9);
        $readmemh("initial/bias.3.hex", bias, 10, 12);
        $readmemh("initial/feedback.1.hex", feedback, 0, 17);
        $readmemh("initial/feedback.2.hex", feedback, 18, 29);
        $readmemh("initial/table.act.tanh.s10.6.s8.7.hex", tanh);
        $readmemh("initial/table.slope.tanh.s10.6.s8.7.hex", tanh_slope);
        $readmemh("initial/table.act.sigmoid.s10.6.s8.7.hex", sigmoid);
    end

    // What is being done: one sum a unit (FORWARD, BACKWARD) or a weight (LEARN), each of LOAD, SUM and STORE.
    localparam IDLE = 0, FORWARD = 1, BACKWARD = 2, LEARN = 3;
    localparam LOAD = 0, SUM = 1, STORE = 2;
    reg [1:0] pass, phase;
    integer layer, sample, j, i, k;                      // j a unit of the layer, i what it reads, k the term of the sum

    // terms of the sum at hand
    wire [31:0] terms = pass == FORWARD ? units(layer - 1) : pass == BACKWARD ? (layer == 3 || DRTP ? 0 : 3) : N;
    // i = units(layer - 1) stands for the bias, whose input is 1
    wire learns_bias = i == units(layer - 1);
    wire [31:0] weight_at = first_weight(layer) + j * units(layer - 1) + (pass == FORWARD ? k : i);
    wire [31:0] unit_at = first_bias(layer) + j;
    wire [31:0] sample_unit = sample * UNITS + unit_at;
    wire [31:0] feedback_at = (layer == 1 ? 0 : 18) + (DRTP ? label[sample] : k) * units(layer) + j;

    wire backward = pass == BACKWARD;
    wire signed [8:0] a = pass == FORWARD ? act[sample * ACTS + first_act(layer - 1) + k]
                        : backward ? delta[sample * UNITS + first_bias(3) + k]
                        : learns_bias ? 9'sd1 : act[k * ACTS + first_act(layer - 1) + i];
    wire signed [7:0] b = pass == FORWARD ? weight[weight_at] : backward ? feedback[feedback_at] : delta[k * UNITS + unit_at];

    // 24 bits hold every sum of this network exactly: the range of the register is never met
    wire signed [23:0] sum;
    wire signed [23:0] start = pass == FORWARD ? bias[unit_at] : 0;
    mac #(.A_BITS(9), .B_BITS(8), .ACC_BITS(24), .SATURATE(1)) multiply(
        .clock(clock), .load(phase == LOAD), .start(start), .enable(phase == SUM),
        .product_shift(pass == FORWARD && layer != 1),   // a bias has 15 fraction bits, a product of layers 2, 3 has 14
        .a(a), .b(b), .sum(sum));

    wire signed [9:0] preact;
    requant #(.IN_BITS(24), .OUT_BITS(10), .SHIFT(9), .ROUND(ROUND)) cast_preact(.in(sum), .out(preact));
    wire [9:0] address = preact + 10'sd512;              // code -512 is entry 0

    // the error is the delta of the output layer; 128 is the target 1.0
    wire signed [8:0] difference = act[sample * ACTS + first_act(3) + j] - (label[sample] == j ? 9'sd128 : 9'sd0);
    wire signed [7:0] error;
    requant #(.IN_BITS(9), .OUT_BITS(8), .SHIFT(0), .ROUND(ROUND)) cast_error(.in(difference), .out(error));

    wire signed [23:0] signal = DRTP ? feedback[feedback_at] : sum;
    wire signed [31:0] product = signal * slope[sample_unit];
    wire signed [7:0] delta_1, delta_2;
    requant #(.IN_BITS(32), .OUT_BITS(8), .SHIFT(DELTA_SHIFT_1), .ROUND(ROUND)) cast_delta_1(.in(product), .out(delta_1));
    requant #(.IN_BITS(32), .OUT_BITS(8), .SHIFT(DELTA_SHIFT_2), .ROUND(ROUND)) cast_delta_2(.in(product), .out(delta_2));

    // steps of the master and the bias (15 fraction bits); gradients have 15 in layer 1, 14 above, 7 for a bias
    wire signed [31:0] step_1, step_23, step_bias;
    requant #(.IN_BITS(24), .OUT_BITS(32), .SHIFT(RATE), .ROUND(ROUND)) cast_1(.in(sum), .out(step_1));
    requant #(.IN_BITS(24), .OUT_BITS(32), .SHIFT(RATE - 1), .ROUND(ROUND)) cast_23(.in(sum), .out(step_23));
    requant #(.IN_BITS(24), .OUT_BITS(32), .SHIFT(RATE - 8), .ROUND(ROUND)) cast_bias(.in(sum), .out(step_bias));
    wire signed [15:0] old = learns_bias ? bias[unit_at] : master[weight_at];
    wire signed [32:0] moved = old - (learns_bias ? step_bias : layer == 1 ? step_1 : step_23);
    wire signed [15:0] fresh;
    requant #(.IN_BITS(33), .OUT_BITS(16), .SHIFT(0), .ROUND(ROUND)) cast_new(.in(moved), .out(fresh));
    wire signed [7:0] copy;
    requant #(.IN_BITS(16), .OUT_BITS(8), .SHIFT(8), .ROUND(ROUND)) cast_copy(.in(fresh), .out(copy));

    always @(posedge clock) begin
        if (input_write)
            act[input_address / 8 * ACTS + input_address % 8] <= {1'b0, input_code};
        if (label_write)
            label[label_address] <= label_in;
        if (reset) begin
            pass <= IDLE;
            phase <= LOAD;
            done <= 1'b0;
        end else if (pass == IDLE) begin
            if (go) begin
                pass <= FORWARD;
                done <= 1'b0;
            end
            phase <= LOAD;
            layer <= 1;
            sample <= 0;
            j <= 0;
            i <= 0;
            k <= 0;
        end else if (phase == LOAD) begin
            phase <= terms == 0 ? STORE : SUM;
            k <= 0;
        end else if (phase == SUM) begin
            k <= k + 1;
            if (k + 1 == terms)
                phase <= STORE;
        end else begin
            phase <= LOAD;
            case (pass)
                FORWARD: begin
                    act[sample * ACTS + first_act(layer) + j] <= layer == 3 ? sigmoid[address] : tanh[address];
                    slope[sample_unit] <= tanh_slope[address];
                end
                BACKWARD:
                    delta[sample_unit] <= layer == 3 ? error : layer == 2 ? delta_2 : delta_1;
                LEARN:
                    if (learns_bias)
                        bias[unit_at] <= fresh;
                    else begin
                        master[weight_at] <= fresh;
                        weight[weight_at] <= copy;
                    end
            endcase
            // the next sum: inputs within units, units within layers or samples, upwards; BACKWARD from the top down
            if (pass == LEARN && !learns_bias)
                i <= i + 1;
            else begin
                i <= 0;
                if (j + 1 < units(layer))
                    j <= j + 1;
                else begin
                    j <= 0;
                    if (pass != LEARN && sample + 1 < N)
                        sample <= sample + 1;
                    else begin
                        sample <= 0;
                        if (pass == BACKWARD ? layer > 1 : layer < 3)
                            layer <= pass == BACKWARD ? layer - 1 : layer + 1;
                        else begin
                            layer <= pass == FORWARD ? 3 : 1;
                            pass <= pass == LEARN ? IDLE : pass + 1;
                            done <= pass == LEARN;
                        end
                    end
                end
            end
        end
    end
endmodule
