"""An HTTP API in front of hybrids: FastAPI over `understudy_client`. Start it as docs/application.md says.

PREDICT_MODELS=efficientnet_lite0 uvicorn --app-dir client/examples --factory fastapi_app:create_app
"""

from .app import create_app

__all__ = ["create_app"]
