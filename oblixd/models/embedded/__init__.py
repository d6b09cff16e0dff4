"""The embedded model: a GGUF file, served by llama.cpp in a supervised process of its own."""
