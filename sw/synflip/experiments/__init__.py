"""``synflip report paper``: the experiments of the synaptic sampling paper (Aimone, Severa, Smith, ICRC 2023,
arXiv 2311.13038) and more, through compiled integers, and a page that shows them."""
