"""Features of a batch, where some or all of what a frozen backbone gives comes with it from an earlier run.

B images; n of them kept, the others fresh.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lpdseg.maps.pad import as_pixels
from lpdseg.model.encoder import Encoder


def features_of(encoder: Encoder, batch: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """Features of every scale, finest first, of the images that a batch has under `name` (uint8, RGB).

    Where a batch comes with what was kept, it holds beside them

    - `NAME.0`, `NAME.1`, …: what `Encoder.encode` gave for the kept ones, n x C x h x w, bfloat16;
    - `NAME.kept`: which they are, B, bool;
    - `NAME.fresh`: the others, uint8, RGB, which are encoded now and rounded alike, so that nothing hangs on how
      many were kept.

    The images themselves then need channels only where the encoder's adapter looks at them.
    """
    images = as_pixels(batch[name])
    kept = batch.get(f"{name}.kept")
    if kept is None:
        return encoder(images)  # type: ignore[no-any-return]
    found: list[Tensor] = []
    while (values := batch.get(f"{name}.{len(found)}")) is not None:
        found.append(values)
    fresh = batch[f"{name}.fresh"]
    if len(fresh) > 0:
        # Both lie one after the other. Where each image's are is counted: a mask would have to be waited for.
        place = torch.where(kept, kept.cumsum(0) - 1, (~kept).cumsum(0) - 1 + len(kept) - len(fresh))
        with torch.no_grad():
            encoded = encoder.encode(as_pixels(fresh))
        for level, (old, new) in enumerate(zip(found, encoded, strict=True)):
            found[level] = torch.cat([old, new.to(old.dtype)])[place]
    found = [values.float() for values in found]
    return encoder.finish(found, images) if encoder.needs_images else found
