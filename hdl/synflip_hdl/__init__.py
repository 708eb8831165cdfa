"""The gateware: the accelerator and its front ends in Amaranth, the boards, and what makes files of them."""
