// A cast: drop SHIFT fraction bits by a rounding, then bring the result into OUT_BITS by SAT or WRAP; signed throughout.
// A negative SHIFT adds fraction bits. Nothing is lost before the last step.
module requant #(
    parameter IN_BITS = 20,
    parameter OUT_BITS = 8,
    parameter SHIFT = 4,
    parameter ROUND = 1,         // 0 TRN, 1 RND, 2 RND_CONV, 3 RND_ZERO
    parameter SATURATE = 1       // 1 SAT, 0 WRAP
) (
    input  wire signed [IN_BITS-1:0]  in,
    output wire signed [OUT_BITS-1:0] out
);
    localparam DROP = SHIFT > 0 ? SHIFT : 0;
    localparam ADD = SHIFT < 0 ? -SHIFT : 0;
    // one bit for the rounding up; at least one above the output's sign
    localparam GROWN = IN_BITS + ADD + 1;
    localparam WIDE = GROWN > OUT_BITS ? GROWN : OUT_BITS + 1;

    wire signed [WIDE-1:0] wide = in;
    wire signed [WIDE-1:0] whole = (wide <<< ADD) >>> DROP;
    wire up;

    generate
        if (DROP == 0 || ROUND == 0) begin : exact
            assign up = 1'b0;
        end else begin : rounded
            // half: at least half a step is dropped; more: and not exactly half a step
            wire half = wide[DROP-1];
            wire more = |(wide & ((1 << (DROP - 1)) - 1));
            assign up = ROUND == 1 ? half
                      : ROUND == 2 ? half & (more | whole[0])
                      :              half & (more | wide[WIDE-1]);
        end
    endgenerate

    wire signed [WIDE-1:0] result = whole + $signed({1'b0, up});
    wire fits = result[WIDE-1:OUT_BITS-1] == {(WIDE-OUT_BITS+1){result[WIDE-1]}};

    assign out = SATURATE && !fits ? {result[WIDE-1], {(OUT_BITS-1){~result[WIDE-1]}}} : result[OUT_BITS-1:0];
endmodule
