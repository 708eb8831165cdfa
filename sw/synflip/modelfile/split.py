"""One graph as two: what stays in front of the coins, and what becomes coins.

The cut is where one tensor alone goes from front to back: at the named layer or behind it, and before the
next weights. What comes between, a ReLU or a maximum, stays in front; constants that are folded into the
weights behind them do not.
"""

from dataclasses import replace

from torch import Tensor

from synflip.errors import SynflipError
from synflip.modelfile.aten import DROPOUTS, FOLDED, RESHAPED, SAME, WEIGHTED
from synflip.modelfile.pt2 import Node, Program, Value, run, values_of


def split(program: Program, layer: str) -> tuple[Program, Program]:
    """The graphs in front of the cut and behind it. In the order of a network conv1, relu, pool, conv2, relu,
    flatten, fc the layer ``conv1`` cuts before conv2, and ``conv2`` before fc.

    layer: the name of a module, or of an operation that is in none. Raises SynflipError, with the names that
    there are, for another one, and if there is no cut.
    """
    program = _folded(program)
    nodes = [node for node in program.nodes if not _counts_images(node)]
    places = {name: place for place, node in enumerate(nodes) for name in node.layers or (node.result,)}
    if layer not in places:
        raise SynflipError(f"there is no layer {layer!r}; there are {', '.join(places) or 'none'}")
    cuts = _cuts(nodes, program.source)
    first = next((place for place in cuts if place >= places[layer]), len(nodes))
    weights = [place for place in range(first + 1, len(nodes)) if _kind(nodes[place]) in WEIGHTED]
    if not weights:
        raise SynflipError(
            f"behind the layer {layer!r} there are no weights that could be coins, where one tensor leads to "
            "them: name an earlier one"
        )
    cut = place = weights[0] - 1
    while place > first and _kind(nodes[place]) in (*FOLDED, *SAME, *DROPOUTS, *RESHAPED):
        place -= 1
        if _kind(nodes[place + 1]) in FOLDED and place in cuts:
            cut = place
    if cut not in cuts:
        cut = max(place for place in cuts if place < weights[0])
    middle = nodes[cut].result
    return _between(program, program.source, middle), _between(program, middle, program.result)


def _kind(node: Node) -> str:
    return node.kind.removesuffix("_")


def _counts_images(node: Node) -> bool:
    """Whether a node gives the number of images, which is the same on both sides."""
    return node.kind == "sym_size" and node.argument(1, "dim") == 0


def _folded(program: Program) -> Program:
    """The graph with what is computed from constants alone, such as normalised weights, as a constant."""
    constants, live = program.constants(), {program.source}
    nodes = []
    for index, node in enumerate(program.nodes):
        if node.kind == "sym_size" or live & {value.name for value in values_of(node)}:
            live.add(node.result)
            nodes.append(node)
        else:
            constants[node.result] = run(index, node, constants)
    return _like(program, nodes, program.source, program.result, constants)


def _like(
    program: Program, nodes: list[Node], source: str, result: str, constants: dict[str, Tensor]
) -> Program:
    """A graph of the same file, with the constants that it uses."""
    used = {value.name for node in nodes for value in values_of(node)}
    tensors = {name: value for name, value in constants.items() if name in used}
    sizes = program.sizes if source == program.source else program.sizes[:1]
    graph = Program(tuple(nodes), source, result, tensors, sizes)
    graph.path, graph.sha256 = program.path, program.sha256
    return graph


def _cuts(nodes: list[Node], source: str) -> list[int]:
    """Places of nodes whose results alone are used behind them."""
    last_use = {value.name: place for place, node in enumerate(nodes) for value in values_of(node)}
    found, used = [], last_use.get(source, 0)
    for place, node in enumerate(nodes):
        if used <= place:
            found.append(place)
        used = max(used, last_use.get(node.result, 0))
    return found


def _between(program: Program, source: str, result: str) -> Program:
    """What leads from one tensor to another."""
    nodes: list[Node] = []
    wanted = {result}
    for node in reversed(program.nodes):
        if node.result in wanted and node.result != source:
            if _counts_images(node):
                node = replace(node, arguments=(Value(source), 0), keywords={})
            nodes.append(node)
            wanted |= {value.name for value in values_of(node)}
    return _like(program, nodes[::-1], source, result, program.constants())
