"""A toy world for video_lora: procedural dancers, and a Wan-VACE base that was trained on them.

The real code path, media files, caches, diffusers' transformer and pipeline, peft, runs on it in minutes without a GPU,
and what it learns can be measured: a person is three colours. `world` draws people and dances, `data` writes them as
media files, `faces` embeds and evaluates them; `codec` and `pipeline` make up the base, `train_base` trains the one in
`base/` (the asset `toy_wan`).
"""
