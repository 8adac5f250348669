"""What eyes see: LPIPS of frames and FVD of clips, by networks whose weights packages carry.

packaged  weights from the files of an installed package
lpips     the distance of two pictures by the features of AlexNet or VGG16
frechet   the distance of two sets of features
fvd       that of clips by the logits of I3D
measure   both of a forecast, beside the other metrics
"""
