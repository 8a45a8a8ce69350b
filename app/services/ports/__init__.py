"""What the services need of the cache and the books. The adapters fit these shapes; only wiring knows both."""
