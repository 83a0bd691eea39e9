"""How a head is turned: rotations and the angles that name them, see `Face.pose`."""

import math

import numpy as np
import numpy.typing as npt

from facesmith.faces.geometry.topology import EYES, NOSE, OVAL

Floats = npt.NDArray[np.float32]
Rotation = npt.NDArray[np.float64]

# Neither lips nor chin: a mouth that opens turns no head.
_RIGID = [*EYES, *NOSE, *OVAL[:9], *OVAL[-8:]]
# MediaPipe's y points up and its z to the camera, landmarks' y down and away from it.
_AXES = np.array([1.0, -1.0, -1.0])


def pose_of_rotation(rotation: Rotation) -> Floats:
    """Return pitch, yaw, roll in degrees, (3,), of a rotation (3, 3) with y up and z to the camera."""
    pitch = math.atan2(rotation[2, 1], rotation[2, 2])
    yaw = math.asin(float(np.clip(-rotation[2, 0], -1, 1)))
    roll = -math.atan2(rotation[1, 0], rotation[0, 0])
    return np.degrees([pitch, yaw, roll]).astype(np.float32)


def rotation_of_pose(pose: Floats) -> Rotation:
    """Return the rotation (3, 3) of which `pose_of_rotation` gives a pose (3,)."""
    pitch, yaw, roll = np.radians(np.asarray(pose, np.float64))
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_z = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x, np.float64)


def turn_pose(pose: Floats, before: Floats, now: Floats) -> Floats:
    """Return the pose of a face whose landmarks have moved.

    Args:
        pose: (3,) before.
        before: (478, 3) landmarks in px, to which the pose belongs.
        now: (478, 3) landmarks of the same face in a frame soon after.
    """
    a, b = ((points[_RIGID] - points[_RIGID].mean(0)).astype(np.float64) * _AXES for points in (before, now))
    # Kabsch: the rotation that brings a onto b, by least squares.
    left, _, right = np.linalg.svd(b.T @ a)
    mirrored = np.linalg.det(left @ right) < 0
    turn = left @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0]) @ right
    return pose_of_rotation(turn @ rotation_of_pose(pose))
