"""Traces modules symbolically with torch.fx, from any thread.

While torch.fx traces a module, it replaces what a call of any module does, in the whole process. So only one module is
traced at a time, and what other threads call meanwhile is computed as usual.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch import fx, nn

_tracing = threading.Lock()


class _Tracer(fx.Tracer):
    def __init__(self, whole: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._whole = whole
        self._thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._whole) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)


def traced(module: nn.Module, whole: tuple[type[nn.Module], ...]) -> fx.GraphModule:
    """Return a module's steps. Thread-safe.

    Args:
        module: to trace.
        whole: modules that become one step each, as torch's own do.
    """
    with _tracing:
        return fx.GraphModule(module, _Tracer(whole).trace(module))
