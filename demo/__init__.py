"""The demo shop: real services as local images, two applications, and users that keep them busy."""
