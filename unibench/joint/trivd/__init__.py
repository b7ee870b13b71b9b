"""TrIVD: objects in images and videos are found by their names, and followed by queries. In the making: no system yet.

Reimplementation from the paper; no code of the authors exists. Losses are MDETR's, the life of track queries
TrackFormer's, as their authors' code has them.

Reference: Liu et al., "TrIVD: A Unified Model for Tracking and Image-Video Detection Has More Power".
"""
