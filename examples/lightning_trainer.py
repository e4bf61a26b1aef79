"""Lightning's trainer with an optimizer, a schedule and the monitor of Downslope."""

from __future__ import annotations

import shutil

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader

import downslope
from downslope.integrations import LightningMonitor
from downslope.schedules import cosine, warmup

RUN = "runs/lightning"


class Classifier(lightning.LightningModule):
    """Two layers for the handwritten digits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        images, labels = batch
        return nn.functional.cross_entropy(self.net(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        steps = int(self.trainer.estimated_stepping_batches)
        lr = 3e-3 * (warmup(10) >> cosine(steps - 10))
        return downslope.optim.AdamW(self.parameters(), lr=lr, clip_norm=1.0)


def main() -> None:
    shutil.rmtree(RUN, ignore_errors=True)  # of an earlier call
    loader = DataLoader(downslope.load_task("digits").train, batch_size=64, shuffle=True)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[LightningMonitor(RUN, module="net")],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), loader)
    print("wrong:", downslope.diagnose(RUN) or "nothing")  # also: downslope diagnose runs/lightning


if __name__ == "__main__":
    main()
