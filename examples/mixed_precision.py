"""16-bit arithmetic with unscaling and clipping inside the optimizer's step."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

import downslope
from downslope.schedules import cosine, warmup

EPOCHS = 5


def main() -> None:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    digits = downslope.load_task("digits")
    loader = DataLoader(digits.train, batch_size=64, shuffle=True)
    layers = nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    model = nn.Sequential(*layers).to(device)

    # With fused=True the scaler leaves unscaling and the check for overflow to the step, which
    # clips the unscaled gradients in the same pass. clip_norm may be a schedule, as lr is.
    lr = 3e-3 * (warmup(10) >> cosine(EPOCHS * len(loader) - 10))
    optimizer = downslope.optim.AdamW(model.parameters(), lr=lr, clip_norm=1.0, fused=True)
    scaler = torch.amp.GradScaler(device)

    for epoch in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            with torch.autocast(device, dtype=torch.float16):
                outputs = model(images.to(device))
                loss = nn.functional.cross_entropy(outputs, labels.to(device))
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, last norm {optimizer.grad_norm:.3f}")


if __name__ == "__main__":
    main()
