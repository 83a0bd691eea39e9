"""Cost of `task=evaluate` beside the analysis alone, and its memory by the number of pairs.

    python benchmarks/evaluation_speed.py --corpus corpus          folder of evaluation_corpus.py

speed    CPU seconds of finding the faces of both pictures and embedding them, by those of measuring the pairs
memory   peak of the process after so many pairs, results in the journal
"""

import argparse
import resource
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import torch

from facesmith.faces.analyzers.mediapipe import MediaPipeAnalyzer
from facesmith.faces.geometry.alignment import estimate_alignment, warp_face
from facesmith.media.images import read_image
from facesmith.tasks.evaluate.journal import Journal
from facesmith.tasks.evaluate.measuring import PairMeter
from facesmith.tasks.evaluate.pairs import Pair, find_people, match_by_name
from facesmith.tasks.evaluate.people import make_gallery, study
from facesmith.tasks.evaluate.recognisers import CropRecogniser, load_recognisers


def main() -> None:
    """Print the ratio and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--swaps", default="mesh_warp_256")
    parser.add_argument("--pairs", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    places = [str(arguments.corpus / name) for name in (arguments.swaps, "targets", "sources")]
    people = find_people(places[2], "sources")
    pairs, _ = match_by_name(places[0], places[1], people, "target_source")
    analyzer = MediaPipeAnalyzer(detector_sizes=[640, 256], min_score=0.7)
    recognisers = load_recognisers(["analyzer", "dlib", "faceres"], analyzer)
    used = {pair.person for pair in pairs}
    known = {
        name: study(one, analyzer, recognisers, frames=4, backend="pyav", face_sets=arguments.corpus / "none")
        for name, one in people.items()
        if name in used
    }
    meter = PairMeter(analyzer, recognisers, make_gallery(known, None), backend="pyav", max_frames=None)
    meter(pairs[0])  # what is made once
    alone = whole = 0.0
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "pairs.jsonl", "", resume=False) as journal:
        for number, pair in enumerate(islice(cycle(pairs), arguments.pairs), 1):
            start = time.process_time()
            analyse(pair, analyzer, recognisers)
            middle = time.process_time()
            journal.add(f"{number}", meter(pair))
            alone, whole = alone + middle - start, whole + time.process_time() - middle
            if number in (20, 50, 100, 200, 500, 1000):
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f"{number} pairs: {alone / whole:.3f} of the speed of the analysis alone, peak {peak:.0f} MB")
    print(f"{1000 * alone / number:.0f} CPU-ms a pair of analysis, {1000 * whole / number:.0f} of evaluation")
    analyzer.close()


def analyse(pair: Pair, analyzer: MediaPipeAnalyzer, recognisers: list[CropRecogniser]) -> None:
    """Find the faces of both pictures and embed the largest by every recogniser."""
    crops = []
    for path in (pair.swap.path, pair.target.path):
        picture = read_image(path)
        for face in analyzer(picture)[:1]:
            crops.append(warp_face(picture, estimate_alignment(face.keypoints, "arcface_128", 256), 256))
    for one in recognisers:
        if one.name != analyzer.embedder:  # has embedded them already
            one.embed(crops)


if __name__ == "__main__":
    main()
