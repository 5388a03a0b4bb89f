"""Where a KEK lives, one module a service, chosen by the scheme of its URI."""
