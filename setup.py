"""Packaging for pip: the engine, the command line and the trainer, none of which need ROS.

The one list of Python dependencies. `package.xml` names the ROS ones; `constraints.txt` says
which versions of the model libraries are tested. Lower bounds are tested, too: `make lowest`.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "streamingvlm_ros/__init__.py").read_text())
assert VERSION, "streamingvlm_ros/__init__.py holds no __version__"

setup(
    name="streamingvlm_ros",
    version=VERSION[1],
    description="Running narration of a camera, and answers about it, on ROS 2",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # With an explicit root, an editable install is a path entry, which finds new modules and allows
    # the generated messages beside them.
    package_dir={"": "."},
    # `streamingvlm_training` is the folder training/ under a name of its own: decision 0010.
    packages=find_packages(include=["streamingvlm_ros*", "streamingvlm_training*"]),
    package_data={
        "streamingvlm_ros": [
            "demo/checkpoint/**",
            "evaluation/report/page/*",
            "evaluation/judge_prompt.txt",
        ],
        "streamingvlm_training": ["recipes/*"],
    },
    # The same place as in a ROS installation.
    data_files=[
        (f"share/streamingvlm_ros/{folder}", sorted(map(str, Path(folder).glob("*"))))
        for folder in ("config", "msg")
    ],
    entry_points={"console_scripts": ["streamingvlm = streamingvlm_ros.cli:main"]},
    install_requires=[
        "torch>=2.9",
        "transformers>=5.17,<6",
        "huggingface-hub>=1.0",
        "tokenizers>=0.22",
        "safetensors>=0.5",
        "accelerate>=1.8",
        "numpy>=1.22",
        "pillow>=10.0",
        "av>=14.1",
        "pyyaml>=6.0",
        "pydantic>=2.10.3",
        "typing-extensions>=4.8",
        "rosbags-image>=0.10",
        "opencv-python-headless>=4.8",
        "rosbags>=0.11.7",
        "sacrebleu>=2.4",
        "rouge-score>=0.1.2",
        "httpx2>=2.0",
        "mcap>=1.6",
        "zstandard>=0.22",
        "lz4>=4.3",
        "typer>=0.15.4",
        "rich>=13.0",
        "jinja2>=3.1",
    ],
    extras_require={
        "flash": ["flash-attn>=2.7"],
        "training": ["peft>=0.18", "tensorboard>=2.16"],
        "qlora": ["bitsandbytes>=0.50"],
        "deepspeed": ["deepspeed>=0.17"],
        # Reference for the resizing of frames in tests/engine/test_vision.py.
        "reference": ["qwen-vl-utils>=0.0.11", "torchvision"],
        "dev": [
            "pytest>=8.0",
            "hypothesis>=6.140",
            "ruff~=0.17.5",
            "mypy~=2.4",
            "types-PyYAML",
            "bitsandbytes>=0.50",
            "sphinx>=8.1",
            "myst-parser>=4.0",
            "furo>=2024.8",
        ],
    },
)
