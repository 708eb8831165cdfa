// DP16KD against a model of it that goes bit by bit: random reads and writes on both ports, in two words of 36 bits.
// A port's bits are placed at (byte, bit) by `place`; what a port reads is looked up before each edge.

module one #(
    parameter integer WA = 18, WB = 18, parameter MODE_A = "NORMAL", MODE_B = "NORMAL", parameter integer SEED = 1,
    parameter REG_A = "NOREG", REG_B = "NOREG"
) (input clk, output integer errors, output integer clashes);
    reg [17:0] di [2];
    reg [13:0] ad [2];
    reg [1:0] ce, oce, we;
    wire [17:0] d_out [2];
    dp16kd_pins #(WA, WB, MODE_A, MODE_B, .REGMODE_A(REG_A), .REGMODE_B(REG_B)) dut (
        {clk, clk}, ce, oce, we, 2'b00, di[0], di[1], ad[0], ad[1], d_out[0], d_out[1]);

    localparam integer WIDTH [2] = '{WA, WB};
    reg model [2048][9];
    reg [35:0] want [2];
    reg [1:0] known = 0;  // the output has been read at least once
    reg [17:0] kept [2];  // by a side's output register
    reg [1:0] kept_known = 0;
    integer seed = SEED;

    function automatic integer place(input integer width, input [13:0] address, input integer index);
        // number of a bit: 9 to a byte
        if (width < 9) return 9 * address[13:3] + (address[2:0] / width) * width + index;
        return 9 * ((address / (width / 9 * 8)) * (width / 9)) + index;
    endfunction
    function automatic bit writes(input integer port, input integer index);
        if (!ce[port] || !we[port]) return 0;
        return WIDTH[port] < 18 || ad[port][index / 9];
    endfunction
    function automatic [35:0] old(input integer port);
        old = 0;
        for (int i = 0; i < WIDTH[port]; i++) begin
            automatic integer at = place(WIDTH[port], ad[port], i);
            old[i] = model[at / 9][at % 9];
        end
    endfunction

    // A side's pins without output register: with 36 bits, half of what port B read.
    function automatic [17:0] shown(input integer side);
        if (WB == 36) return side == 0 ? want[1][17:0] : want[1][35:18];
        return want[side][17:0];
    endfunction
    function automatic bit is_known(input integer side);
        return WB == 36 ? known[1] : WA == 36 && side == 0 ? 0 : known[side];
    endfunction

    initial begin
        errors = 0;
        clashes = 0;
        for (int i = 0; i < 2048; i++) for (int j = 0; j < 9; j++) model[i][j] = 0;
    end

    // Two words of 36 bits, at both ends of the memory, so that clashes are frequent.
    always @(negedge clk) begin
        for (int port = 0; port < 2; port++) begin
            ad[port] = {{9{1'($random(seed))}}, 5'($random(seed))};
            di[port] = 18'($random(seed));
        end
        ce = 2'($random(seed)) | 2'($random(seed));
        oce = 2'($random(seed)) | 2'($random(seed));
        we = 2'($random(seed));
        if (WB == 36) we[1] = 0;
        if (ad[0][13] == ad[1][13]) we[1] = 0;  // both never write to one place
    end

    always @(posedge clk) begin : check
        automatic bit clash, own;
        automatic integer at;
        automatic reg [35:0] found [2];
        automatic reg [35:0] data [2];
        for (int side = 0; side < 2; side++) if (oce[side]) begin
            kept[side] = shown(side);
            kept_known[side] = is_known(side);
        end
        data[0] = {di[1], di[0]};
        data[1] = {18'b0, di[1]};
        for (int port = 0; port < 2; port++) found[port] = old(port);
        for (int port = 0; port < 2; port++) if (ce[port]) begin
            own = 0;
            clash = 0;
            for (int i = 0; i < WIDTH[port]; i++) own |= writes(port, i);
            for (int i = 0; i < WIDTH[1 - port]; i++) clash |= writes(1 - port, i);
            // Any write into the wider port's word clashes.
            clash &= place(WIDTH[0] > WIDTH[1] ? WIDTH[0] : WIDTH[1], ad[0], 0)
                == place(WIDTH[0] > WIDTH[1] ? WIDTH[0] : WIDTH[1], ad[1], 0);
            clashes += 32'(clash);
            if (!own || (port == 0 ? MODE_A : MODE_B) != "NORMAL") begin
                known[port] = 1;
                want[port] = clash ? ~found[port] : found[port];
                if (!clash && (port == 0 ? MODE_A : MODE_B) == "WRITETHROUGH")
                    for (int i = 0; i < WIDTH[port]; i++) if (writes(port, i)) want[port][i] = data[port][i];
                want[port] &= 36'((64'd1 << WIDTH[port]) - 1);
            end
        end
        for (int port = 0; port < 2; port++)
            for (int i = 0; i < WIDTH[port]; i++) if (writes(port, i)) begin
                at = place(WIDTH[port], ad[port], i);
                model[at / 9][at % 9] = data[port][i];
            end
        #1;
        for (int side = 0; side < 2; side++)
            if ((side == 0 ? REG_A : REG_B) == "OUTREG") errors += 32'(kept_known[side] && d_out[side] != kept[side]);
            else errors += 32'(is_known(side) && d_out[side] != shown(side));
    end
endmodule

// Reads back what INITVAL_xx say: word n of 18 bits holds n * 1237, but only in three of the 64 parameters.
module initial_contents (input clk, output integer errors);
    function automatic [319:0] words(input integer number);
        words = 0;
        for (int i = 0; i < 16; i++) words[20 * i +: 18] = 18'((16 * number + i) * 1237);
    endfunction
    integer word = 0;
    wire [17:0] d_out;
    wire [17:0] unused;
    dp16kd_pins #(.INITVAL_00(words(0)), .INITVAL_2A(words(42)), .INITVAL_3F(words(63))) dut (
        {clk, clk}, 2'b11, 2'b11, 2'b00, 2'b00, 18'd0, 18'd0, 14'd0, {10'(word), 4'd0}, unused, d_out);
    initial errors = 0;
    always @(posedge clk) begin
        #1;
        errors += 32'(d_out != (word / 16 inside {0, 42, 63} ? 18'(word * 1237) : 18'd0));
        word = word == 1023 ? 0 : word + 1;
    end
endmodule

module bench;
    reg clk = 0;
    always #5 clk = ~clk;

    localparam integer CASES = 16;
    integer errors [CASES];
    integer clashes [CASES];
    one #(1, 1, "NORMAL", "NORMAL", 1) c0 (clk, errors[0], clashes[0]);
    one #(2, 2, "READBEFOREWRITE", "READBEFOREWRITE", 2) c1 (clk, errors[1], clashes[1]);
    one #(4, 4, "WRITETHROUGH", "WRITETHROUGH", 3) c2 (clk, errors[2], clashes[2]);
    one #(9, 9, "NORMAL", "READBEFOREWRITE", 4) c3 (clk, errors[3], clashes[3]);
    one #(9, 9, "READBEFOREWRITE", "WRITETHROUGH", 5) c4 (clk, errors[4], clashes[4]);
    one #(18, 18, "NORMAL", "NORMAL", 6) c5 (clk, errors[5], clashes[5]);
    one #(18, 18, "READBEFOREWRITE", "READBEFOREWRITE", 7) c6 (clk, errors[6], clashes[6]);
    one #(18, 18, "WRITETHROUGH", "WRITETHROUGH", 8) c7 (clk, errors[7], clashes[7]);
    one #(36, 36, "NORMAL", "NORMAL", 9) c8 (clk, errors[8], clashes[8]);
    one #(36, 9, "NORMAL", "NORMAL", 10) c9 (clk, errors[9], clashes[9]);
    one #(9, 36, "READBEFOREWRITE", "NORMAL", 11) c10 (clk, errors[10], clashes[10]);
    one #(18, 4, "NORMAL", "READBEFOREWRITE", 12) c11 (clk, errors[11], clashes[11]);
    one #(1, 18, "WRITETHROUGH", "WRITETHROUGH", 13) c12 (clk, errors[12], clashes[12]);
    one #(18, 18, "NORMAL", "READBEFOREWRITE", 14, "NOREG", "OUTREG") c13 (clk, errors[13], clashes[13]);
    one #(9, 4, "WRITETHROUGH", "NORMAL", 15, "OUTREG", "OUTREG") c14 (clk, errors[14], clashes[14]);
    one #(36, 36, "NORMAL", "NORMAL", 16, "OUTREG", "OUTREG") c15 (clk, errors[15], clashes[15]);
    integer wrong;
    initial_contents contents (clk, wrong);

    // What the model refuses when run.
    string misuse = "none";
    wire [17:0] unused [2];
    reg [1:0] clocks, we, reset = 2'b00;
    dp16kd_pins #(18, 18) refuses (clocks, 2'b11, 2'b11, we, reset, 18'd0, 18'd0, 14'd3, 14'd3, unused[0], unused[1]);
    always @* clocks = {misuse == "clocks" ? ~clk : clk, clk};
    dp16kd_pins #(9, 36) wide (
        {clk, clk}, 2'b11, 2'b11, {misuse == "wide", 1'b0}, 2'b00, 18'd0, 18'd0, 14'd15, 14'd15, unused[0], unused[1]);

    initial begin
        if ($value$plusargs("misuse=%s", misuse));
        we = misuse == "both" ? 2'b11 : 2'b01;
        reset[1] = misuse == "reset";
        repeat (5000) @(posedge clk);
        #2;
        for (int i = 0; i < CASES; i++) $display("case %0d: errors %0d, clashes %0d", i, errors[i], clashes[i]);
        $display("initial contents: errors %0d", wrong);
        $finish;
    end
endmodule
