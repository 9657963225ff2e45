"""What several test folders share: stand-ins for the world around the product."""
