"""What ComfyUI needs of a person beside the LoRA: face tokens and the node that reads them, a photo, a workflow."""

import json
from pathlib import Path
from typing import Any, Final

from facesmith.files import write_bytes, write_text
from facesmith.methods.video_lora import comfyui_face_tokens
from facesmith.methods.video_lora.adapter_bundle import AdapterBundle

NODE: Final = "facesmith_face_tokens.py"
_WORKFLOW: Final = Path(__file__).with_name("comfyui_workflow.json")


def write_comfyui_files(bundle: AdapterBundle, output: Path, lora: str) -> list[str]:
    """Write everything but the LoRA.

    Args:
        bundle: Of a person whose face comes by tokens, or by words alone.
        output: Folder.
        lora: Name of the LoRA's file in that folder.

    Returns:
        A sentence for each file.
    """
    name = lora.removesuffix("_comfyui.safetensors")
    workflow: dict[str, Any] = json.loads(_WORKFLOW.read_text(encoding="utf-8"))
    lines = []
    workflow["lora"]["inputs"]["lora_name"] = lora
    for prompt in ("prompt", "negative_prompt"):
        text = str(bundle.facts.get(prompt, ""))  # plain parentheses would weigh words
        workflow[prompt]["inputs"]["text"] = text.replace("(", r"\(").replace(")", r"\)")
    workflow["video"]["inputs"]["fps"] = float(bundle.facts.get("fps") or 16)
    if "14B" in str(bundle.facts.get("base")):
        workflow["model"]["inputs"]["unet_name"] = "wan2.1_vace_14B_fp16.safetensors"
    if bundle.gate_tokens:
        tokens, node = output / f"{name}_face_tokens.safetensors", output / NODE
        bundle.save_mapper(tokens)
        write_bytes(node, Path(comfyui_face_tokens.__file__).read_bytes())
        workflow["face_tokens"]["inputs"]["mapper"] = tokens.name
        lines += [
            f"{tokens}: for ComfyUI/models/facesmith",
            f"{node}: the node that reads it, for ComfyUI/custom_nodes",
        ]
    else:
        del workflow["face_tokens"]
        workflow["vace"]["inputs"]["positive"] = ["prompt", 0]
    if not bundle.facts.get("references"):
        del workflow["photo"], workflow["padded_photo"], workflow["vace"]["inputs"]["reference_image"]
    path = output / f"{name}_workflow.json"
    write_text(path, json.dumps(workflow, indent=1, ensure_ascii=False) + "\n")
    return [*lines, f"{path}: a workflow to open in ComfyUI; choose the pose video and your model files there"]
