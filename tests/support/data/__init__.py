"""What tests are about: old stores, recorded machines, conversations, routing inputs."""
