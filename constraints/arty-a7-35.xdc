# The serial line idles high when no host is there. Pins that are synchronised have no timing.
set_property PULLUP true [get_ports "uart_0__rx__io"]
set_false_path -from [get_ports {uart_0__rx__io rst_0__io}]
set_false_path -to [get_ports {uart_0__tx__io led_0__io led_1__io}]
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
set_property BITSTREAM.CONFIG.SPI_BUSWIDTH 4 [current_design]
