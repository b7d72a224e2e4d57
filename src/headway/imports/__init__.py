"""The way in for whole stores: routes that take what another tracking server recorded, as it was recorded."""
