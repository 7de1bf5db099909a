"""The model repository: releases come, go live, go back and go, and none is ever half there."""
