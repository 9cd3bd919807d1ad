// All variants of requant.v on one input, for its bench: shifts -2, 0, 1, 4, four roundings, WRAP and SAT.
module requant_all #(
    parameter IN_BITS = 9,
    parameter OUT_BITS = 5
) (
    input  wire signed [IN_BITS-1:0] in,
    output wire [32*OUT_BITS-1:0]    out  // variant (shift * 4 + rounding) * 2 + SAT, the first in the lowest bits
);
    function integer shift(input integer index);
        shift = index == 0 ? -2 : index == 1 ? 0 : index == 2 ? 1 : 4;
    endfunction

    genvar v;
    generate
        for (v = 0; v < 32; v = v + 1) begin : variant
            requant #(.IN_BITS(IN_BITS), .OUT_BITS(OUT_BITS), .SHIFT(shift(v / 8)), .ROUND(v / 2 % 4), .SATURATE(v % 2))
                cast(.in(in), .out(out[v*OUT_BITS +: OUT_BITS]));
        end
    endgenerate
endmodule
