// Multiply-accumulate with a register of limited width: each addition is brought into range, by SAT or by WRAP.
// load puts the (already aligned) start value into the register, in range too; enable adds a * b << PRODUCT_SHIFT.
module mac #(
    parameter A_BITS = 9,        // a, signed
    parameter B_BITS = 8,        // b, signed
    parameter ACC_BITS = 20,     // the register, signed
    parameter SATURATE = 1       // 1 SAT, 0 WRAP
) (
    input  wire                       clock,
    input  wire                       load,
    input  wire signed [ACC_BITS-1:0] start,
    input  wire                       enable,
    input  wire                       product_shift,  // add 2 a b in the place of a b
    input  wire signed [A_BITS-1:0]   a,
    input  wire signed [B_BITS-1:0]   b,
    output reg  signed [ACC_BITS-1:0] sum
);
    // wide enough for any product beside any register
    localparam WIDE = (A_BITS + B_BITS + 1 > ACC_BITS ? A_BITS + B_BITS + 1 : ACC_BITS) + 1;

    wire signed [A_BITS+B_BITS-1:0] product = a * b;
    wire signed [WIDE-1:0] aligned = product_shift ? product <<< 1 : product;
    wire signed [WIDE-1:0] next = sum + aligned;
    // in range where all bits above the register's sign are copies of it
    wire fits = next[WIDE-1:ACC_BITS-1] == {(WIDE-ACC_BITS+1){next[WIDE-1]}};

    always @(posedge clock)
        if (load)
            sum <= start;
        else if (enable)
            if (SATURATE && !fits)
                sum <= {next[WIDE-1], {(ACC_BITS-1){~next[WIDE-1]}}};
            else
                sum <= next[ACC_BITS-1:0];
endmodule
