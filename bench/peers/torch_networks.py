"""The networks of bench/workload.hpp in PyTorch; parameters have the names that Plimsoll writes."""

from torch import nn


class Residual(nn.Module):
    def __init__(self, body, skip=None):
        super().__init__()
        self.body, self.skip = body, skip

    def forward(self, x):
        return self.body(x) + (x if self.skip is None else self.skip(x))


def guide(dropout=True):
    """workload::Guide: (N, 3, 150, 150) to (N, 1)."""
    layers, channels = [], 3
    for filters in (32, 64, 128, 128):
        layers += [nn.Conv2d(channels, filters, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        channels = filters
    layers += [nn.Flatten(), nn.Dropout(0.5 if dropout else 0.0)]
    return nn.Sequential(*layers, nn.Linear(7 * 7 * 128, 512), nn.ReLU(inplace=True), nn.Linear(512, 1))


def convolution(channels, filters, size, stride):
    return [nn.Conv2d(channels, filters, size, stride, size // 2, bias=False), nn.BatchNorm2d(filters)]


def block(channels, filters):
    stride = 1 if channels == filters else 2
    body = nn.Sequential(
        *convolution(channels, filters, 3, stride), nn.ReLU(inplace=True), *convolution(filters, filters, 3, 1)
    )
    skip = None if stride == 1 else nn.Sequential(*convolution(channels, filters, 1, stride))
    return [Residual(body, skip), nn.ReLU(inplace=True)]


def resnet18():
    """workload::ResNet18: (N, 3, 32, 32) to (N, 10)."""
    layers, channels = [*convolution(3, 64, 3, 1), nn.ReLU(inplace=True)], 64
    for filters in (64, 128, 256, 512):
        layers += block(channels, filters) + block(filters, filters)
        channels = filters
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())  # one place, as GlobalAveragePool is
    return nn.Sequential(*layers, pool, nn.Linear(512, 10))
