"""Kernels of our own for decoding on CPUs, where they can be compiled."""

from hyperclova.inference.native.build import load as load
