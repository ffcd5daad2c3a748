"""The network's wire: generated stubs of both dialects, and the one converter that knows them."""
