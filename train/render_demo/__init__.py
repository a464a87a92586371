"""`python -m train.render_demo`: the bundled clip, drawn again. The program is program.py."""

from train.engine.program import program as _program

main = _program("train.render_demo.program", "render_demo")
