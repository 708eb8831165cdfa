// Clock, reset and bus of the accelerator for Icarus Verilog: what synflip_sim.simulators.icarus talks to.
//
// Commands come on standard input, numbers in hex, answers go to standard output, one a line:
//   w ADDRESS COUNT WORD..  writes consecutive words.  Answers the error bit of each.
//   r ADDRESS COUNT         reads consecutive words.   Answers the error bit and the data of each.
//   i LIMIT                 runs until idle, or for LIMIT cycles.  Answers busy.
//   z CYCLES                resets for so many cycles. Answers busy.
// Bits that are unknown are answered as x or X. The clock runs only inside commands.

module bench;
    localparam STDIN = 32'h8000_0000;
    localparam PATIENCE = 1000;

    reg clk = 0, rst = 0, valid = 0;
    reg [60:0] request = 0;
    wire ready, answered, busy;
    wire [32:0] response;

    synflip dut (
        .clk(clk), .rst(rst), .busy(busy),
        .request__valid(valid), .request__payload(request), .request__ready(ready),
        .response__valid(answered), .response__payload(response), .response__ready(1'b1)
    );

    // The inputs change after a falling edge and settle before the next rising one.
    task tick;
        begin
            #1 clk = 1;
            #1 clk = 0;
            #1;
        end
    endtask

    // One request and its answer; unknown if there is none, or if it is not known whether there is one.
    reg [32:0] answer;
    integer waited;
    task transfer(input write, input [27:0] address, input [31:0] word);
        begin
            request = {word, address, write};
            valid = 1;
            #1;
            waited = 0;
            while (ready === 1'b0 && waited < PATIENCE) begin
                tick;
                waited = waited + 1;
            end
            answer = ready === 1'b1 ? 33'b0 : 33'bx;
            tick;
            valid = 0;
            #1;
            waited = 0;
            while (answered === 1'b0 && waited < PATIENCE) begin
                tick;
                waited = waited + 1;
            end
            answer = answer | (answered === 1'b1 ? response : 33'bx);
            tick;
        end
    endtask

    // noise.vh has a call of this macro for each memory that starts with noise.
    integer row, bits, seed;
    `define NOISE(MEMORY, DEPTH, WIDTH, OUTPUT) \
        for (row = 0; row < DEPTH; row = row + 1) \
            for (bits = 0; bits < WIDTH; bits = bits + 32) MEMORY[row] = {MEMORY[row], $random(seed)}; \
        OUTPUT = MEMORY[0];

    reg [7:0] command;
    reg [31:0] address, count, word;
    integer found;
    initial begin
        #1;
        `include "noise.vh"
        found = $fscanf(STDIN, " %c %h", command, address);
        while (found == 2) begin
            if (command == "z") begin
                rst = 1;
                for (count = address; count != 0; count = count - 1) tick;
                rst = 0;
                #1;
                $display("%b", busy);
            end else if (command == "i") begin
                count = address;
                while (busy !== 1'b0 && count != 0) begin
                    tick;
                    count = count - 1;
                end
                $display("%b", busy);
            end else begin
                found = $fscanf(STDIN, " %h", count);
                while (count != 0) begin
                    if (command == "w") found = $fscanf(STDIN, " %h", word);
                    transfer(command == "w", address[27:0], word);
                    if (command == "w") $display("%b", answer[32]);
                    else $display("%b %h", answer[32], answer[31:0]);
                    address = address + 1;
                    count = count - 1;
                end
            end
            $fflush;
            found = $fscanf(STDIN, " %c %h", command, address);
        end
        $finish;
    end
endmodule
