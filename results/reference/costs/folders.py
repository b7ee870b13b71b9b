"""Three folders with random weights, in the layouts that `-m ./FOLDER` reads; written to the working directory."""

import json
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from timm.models import save_for_hf

torch.manual_seed(0)
save_for_hf(
    timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=4),
    "of-timm",
    model_args={"num_classes": 0, "depth": 4},
    safe_serialization=True,
)
config = transformers.AutoConfig.for_model(
    "vjepa2",
    hidden_size=48,
    num_hidden_layers=3,
    num_attention_heads=2,
    crop_size=64,
    frames_per_clip=4,
    patch_size=16,
    tubelet_size=2,
    pred_hidden_size=48,
    pred_num_attention_heads=2,
    pred_num_hidden_layers=1,
)
transformers.AutoModel.from_config(config).save_pretrained("of-transformers")
Path("of-transformers/preprocessor_config.json").write_text(
    json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
)
Path("of-torch-hub").mkdir(exist_ok=True)
weights = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT
torch.save(
    torchvision.models.mobilenet_v3_small().state_dict(), f"of-torch-hub/{weights.url.rpartition('/')[2]}"
)
