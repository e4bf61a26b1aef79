"""A training loop of your own: find a learning rate, watch the loop, ask what is wrong with it."""

from __future__ import annotations

import shutil

import torch
from torch import nn
from torch.utils.data import DataLoader

import downslope
from downslope.schedules import cosine, warmup

EPOCHS = 5
RUN = "runs/own-loop"


def main() -> None:
    torch.manual_seed(0)
    digits = downslope.load_task("digits")  # its data only
    loader = DataLoader(digits.train, batch_size=64, shuffle=True)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    loss_fn = nn.CrossEntropyLoss()

    steps = EPOCHS * len(loader)
    untuned = downslope.optim.AdamW(model.parameters())
    test = downslope.find_lr(model, loss_fn, loader, untuned, steps=steps)
    lr = (test.suggestion or 1e-3) * (warmup(10) >> cosine(steps - 10))
    optimizer = downslope.optim.AdamW(model.parameters(), lr=lr, clip_norm=1.0)

    shutil.rmtree(RUN, ignore_errors=True)  # of an earlier call
    doctor = downslope.Doctor()  # prints what it finds, as soon as it finds it
    with downslope.Monitor(model, optimizer, RUN, total_steps=steps, on_event=[doctor]) as monitor:
        for _ in range(EPOCHS):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = loss_fn(model(images), labels)
                loss.backward()
                optimizer.step()
                monitor.step(loss)
            with torch.no_grad():
                images, labels = digits.validation[:]
                outputs = model(images)
                accuracy = (outputs.argmax(1) == labels).float().mean().item()
                monitor.validation(loss_fn(outputs, labels).item(), accuracy, name="accuracy")

    print(f"accuracy {accuracy:.3f}; peak lr {test.suggestion:.3g}, {test.confidence}")
    print("wrong:", downslope.diagnose(RUN) or "nothing")  # also: downslope diagnose runs/own-loop


if __name__ == "__main__":
    main()
