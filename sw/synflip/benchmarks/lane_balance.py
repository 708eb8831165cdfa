"""What ordering hidden outputs by their activity saves: cycles of the same networks before and after."""

from typing import Any

from synflip.benchmarks.engine_cycles import GEOMETRIES, account
from synflip.benchmarks.networks import NETWORKS, Models
from synflip.compiler.lane_balance import balance
from synflip.spec.geometry import Geometry

BATCH = 16


def run(models: Models) -> dict[str, Any]:
    """Cycles of test images as trained and balanced; activity is measured on training images."""
    samples, images = (4, 16) if models.quick else (32, 128)
    rows = []
    for name in NETWORKS:
        models.say(f"balance: {name}")
        model, pixels = models.model(name), models.images(name, images)
        balanced = balance(model, models.data(name).train_images)
        for size in GEOMETRIES:
            geometry = Geometry.parse(size, bits=model.bits, activation_bits=model.activation_bits)
            before, after = (
                account(one, geometry, pixels, samples, (BATCH,))[BATCH]["cycles"]
                for one in (model, balanced)
            )
            rows.append(
                {"network": name, "shape": model.shape, "geometry": size, "passes": samples * images}
                | {"before": before, "after": after}
            )
    return {"samples": samples, "images": images, "rows": rows}
