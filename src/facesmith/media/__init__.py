"""Read and write images and video: RGB uint8 in, RGB uint8 out, every frame the right one."""
