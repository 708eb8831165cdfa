// Two memories side by side: rows written to both, read from both; what is read in the cycle of a write may be anything.
module bench;
    localparam WIDTH = 48, DEPTH = 4096, ADDRESS = 12;
    reg clk = 0, write = 0, watched = 0;
    reg [ADDRESS-1:0] write_address = 0, read_address = 0;
    reg [WIDTH-1:0] write_data = 0;
    wire [WIDTH-1:0] have, want;
    reg known [0:DEPTH-1];
    integer cycle, compared = 0, wrong = 0;

    always #5 clk = ~clk;
    spram dut(
        .clk(clk), .write(write), .write_address(write_address), .write_data(write_data),
        .read(1'b1), .read_address(read_address), .read_data(have)
    );
    synflip_memory #(.WIDTH(WIDTH), .DEPTH(DEPTH), .ADDRESS(ADDRESS)) plain(
        .clk(clk), .write(write), .write_address(write_address), .write_data(write_data),
        .read(1'b1), .read_address(read_address), .read_data(want)
    );

    initial begin
        for (cycle = 0; cycle < DEPTH; cycle = cycle + 1) known[cycle] = 0;
        for (cycle = 0; cycle < 20000; cycle = cycle + 1) begin
            @(negedge clk);
            if (watched) begin
                compared = compared + 1;
                if (have !== want) wrong = wrong + 1;
            end
            write = $urandom % 3 == 0;
            write_address = ($urandom % 64) * 65;
            read_address = ($urandom % 64) * 65;
            write_data = {$urandom, $urandom};
            watched = !write && known[read_address];
            if (write) known[write_address] = 1;
        end
        $display("%0d compared, %0d wrong", compared, wrong);
        $finish;
    end
endmodule
