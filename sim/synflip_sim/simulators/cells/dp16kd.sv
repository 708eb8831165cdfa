// Simulation model of DP16KD, the block RAM of the Lattice ECP5: 2048 bytes of 9 bits, two ports, one clock.
//
// Yosys's own model of this cell is an empty shell. This one has what Yosys emits (its mapping of memories is
// share/lattice/brams_map_16kd.v), after Lattice's "ECP5 and ECP5-5G Memory Usage Guide" (TN1264):
//
// - A port is 1, 2, 4, 9, 18 or 36 bits wide. Addresses count bits, eight to a byte: a port of 9 bits uses AD13..AD3,
//   one of 18 AD13..AD4, one of 36 AD13..AD5. Ports of 1, 2 and 4 bits do not reach the ninth bit of a byte.
// - Byte enables are AD1, AD0 of a port of 18 bits and AD3..AD0 of one of 36.
// - With 36 bits port A only writes, and DIB is the upper half; port B only reads, and DOA is the lower half.
// - What a port read is there after the clock edge. While its own port writes, it holds (NORMAL), takes the new data
//   (WRITETHROUGH) or the old (READBEFOREWRITE). With REGMODE OUTREG a register follows: the output is a cycle later,
//   if OCE is 1. With 36 bits each half has its side's register.
// - A port that reads what the other writes in the same cycle gets undefined data. Here it gets the complement of the
//   old data: a design that counts on the old or on the new data computes something wrong.
// - INITVAL_xx is 16 words of 18 bits in 20 bits each.
//
// Refused when built: parameters that are not listed here, and other values of those that are. Refused when run, with
// $fatal: a reset of the outputs, a second clock, both ports writing to one place, a read by A or a write by B of
// 36 bits. Nothing here has a delay.

module DP16KD #(
    parameter integer DATA_WIDTH_A = 18, DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG",
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL",
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000",
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB",
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC", GSR = "ENABLED",  // only of resets
    parameter [319:0] INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0,
    parameter [319:0] INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
    parameter [319:0] INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0,
    parameter [319:0] INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
    parameter [319:0] INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0,
    parameter [319:0] INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
    parameter [319:0] INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0,
    parameter [319:0] INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
    parameter [319:0] INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0,
    parameter [319:0] INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
    parameter [319:0] INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0,
    parameter [319:0] INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
    parameter [319:0] INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0,
    parameter [319:0] INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
    parameter [319:0] INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0,
    parameter [319:0] INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0
) (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
        DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
        DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
        DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
        DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    localparam [64 * 320 - 1 : 0] INITIAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };

    if (!(REGMODE_A inside {"NOREG", "OUTREG"}) || !(REGMODE_B inside {"NOREG", "OUTREG"}))
        $fatal(1, "DP16KD: register modes %s, %s are not modelled", REGMODE_A, REGMODE_B);
    if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") $fatal(1, "DP16KD: chip selects are not modelled");
    if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") $fatal(1, "DP16KD: inverted clocks are not modelled");

    wire [13:0] address [2];
    assign address[0] = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    assign address[1] = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] upper = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9,
        DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [35:0] data [2];
    assign data[0] = {upper,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9,
        DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    assign data[1] = {18'b0, upper};
    wire [1:0] selected = {CEB & ~CSB2 & ~CSB1 & ~CSB0, CEA & ~CSA2 & ~CSA1 & ~CSA0};
    wire [1:0] enabled = {WEB, WEA};

    reg [8:0] bytes [2048];
    initial for (int word = 0; word < 1024; word++) {bytes[2 * word + 1], bytes[2 * word]} = INITIAL[20 * word +: 18];

    reg [35:0] out [2] = '{36'b0, 36'b0};
    wire [3:0] writes [2];
    // Bits of the address that do not tell the ports' places apart: those within the wider port.
    localparam integer WIDER = DATA_WIDTH_A > DATA_WIDTH_B ? DATA_WIDTH_A : DATA_WIDTH_B;
    wire same = ((address[0] ^ address[1]) & ~14'((WIDER < 9 ? WIDER : WIDER / 9 * 8) - 1)) == 0;

    for (genvar port = 0; port < 2; port++) begin : side
        localparam integer WIDTH = port ? DATA_WIDTH_B : DATA_WIDTH_A;
        localparam MODE = port ? WRITEMODE_B : WRITEMODE_A;
        localparam integer COUNT = WIDTH < 9 ? 1 : WIDTH / 9;  // bytes
        if (!(WIDTH inside {1, 2, 4, 9, 18, 36})) $fatal(1, "DP16KD: a data width of %0d is not modelled", WIDTH);
        if (MODE != "NORMAL" && MODE != "WRITETHROUGH" && MODE != "READBEFOREWRITE")
            $fatal(1, "DP16KD: write mode %s is not modelled", MODE);

        wire [10:0] first = address[port][13:3] & ~11'(COUNT - 1);
        wire [3:0] shift = WIDTH < 9 ? {1'b0, address[port][2:0] & ~3'(WIDTH - 1)} : 4'd0;
        wire [8:0] mask = WIDTH < 9 ? 9'((1 << WIDTH) - 1) << shift : 9'h1ff;
        if (COUNT == 1) assign writes[port] = {3'b0, selected[port] & enabled[port]};
        else assign writes[port] = 4'(address[port][COUNT-1:0] & {COUNT{selected[port] & enabled[port]}});

        always @(posedge CLKA) begin : edge_
            reg [35:0] old, now;
            for (int lane = 0; lane < 4; lane++) old[9 * lane +: 9] = lane < COUNT ? bytes[first + 11'(lane)] : 9'b0;
            now = old;
            for (int lane = 0; lane < COUNT; lane++)
                if (writes[port][lane]) begin
                    now[9 * lane +: 9] = old[9 * lane +: 9] & ~mask | data[port][9 * lane +: 9] << shift & mask;
                    bytes[first + 11'(lane)] <= now[9 * lane +: 9];
                end
            if (same && writes[1 - port] != 0) now = ~old;
            else if (MODE == "READBEFOREWRITE") now = old;
            if (selected[port] && (writes[port] == 0 || MODE != "NORMAL"))
                out[port] <= (now >> shift) & 36'((64'd1 << WIDTH) - 1);
        end
    end

    always @(posedge CLKA) begin
        if (RSTA || RSTB) $fatal(1, "DP16KD: resets are not modelled");
        if (CLKB !== 1'b1) $fatal(1, "DP16KD: two clocks are not modelled");
        if (same && writes[0] != 0 && writes[1] != 0) $fatal(1, "DP16KD: both ports write to one place");
        if (DATA_WIDTH_B == 36 && writes[1] != 0) $fatal(1, "DP16KD: port B writes 36 bits");
    end

    wire [17:0] read_A = DATA_WIDTH_B == 36 ? out[1][17:0] : out[0][17:0];
    wire [17:0] read_B = DATA_WIDTH_B == 36 ? out[1][35:18] : out[1][17:0];
    reg [17:0] kept_A = 0, kept_B = 0;
    always @(posedge CLKA) begin
        if (OCEA) kept_A <= read_A;
        if (OCEB) kept_B <= read_B;
    end

    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9,
        DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
    } = REGMODE_B == "OUTREG" ? kept_B : read_B;
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9,
        DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0
    } = REGMODE_A == "OUTREG" ? kept_A : read_A;
endmodule
