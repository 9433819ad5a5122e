"""Many slides → the files that people open, with a state for each slide that says how it was made.

Below the output folder, STEM being the slide's name without suffix:

- `geojson/STEM.geojson` or `.geojson.gz`: annotations for QuPath;
- `masks/STEM.ome.tif`, `labels/STEM.labels.tif`: the mask as a pyramid, for readers that know OME and that do not;
- `probabilities/STEM.ome.zarr`: class probabilities; `overlays/STEM.png`: a picture; `areas/STEM.csv`: areas;
- `uncertainty/STEM.uncertainty.ome.tif`: how sure the mask is of each pixel; `STEM.unsure.geojson`: where least;
- `states/STEM.json`: what the slide and the settings were, and size and SHA-256 of every file made from it.
- `summary.csv`: a row per slide; with `shard` i of n it is `summary-i-of-n.csv`.
- `.work/`: only while slides are being segmented.
"""
