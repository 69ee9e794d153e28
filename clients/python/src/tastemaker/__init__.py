"""Client of a Tastemaker server: features, events, recommendations."""

from ._client import Client
from ._errors import (
    ConnectionFailed,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Problem,
    RecordsRefused,
    TastemakerError,
    Unavailable,
)
from ._features import FeatureStore, Features

__all__ = [
    "Client",
    "ConnectionFailed",
    "FeatureStore",
    "Features",
    "InvalidRequest",
    "NotAllowed",
    "NotFound",
    "Problem",
    "RecordsRefused",
    "TastemakerError",
    "Unavailable",
]
