"""A small recurrent reader of tokens."""

import torch
from torch import nn


class Reader(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 12)
        self.convolution = nn.Conv1d(12, 16, 3, padding=1)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens):
        states = torch.relu(self.convolution(self.embedding(tokens).transpose(1, 2)).transpose(1, 2))
        return states, self.head(states.mean(1))


def build(vocabulary):
    return Reader(vocabulary)
