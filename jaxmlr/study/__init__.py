"""Monte Carlo studies: declared in TOML or Python, run on every device, answered with statistics.

Needs the extra `study`: pip install 'jaxmlr[study]'.
"""

from jaxmlr._xla.host import use_all_cores as use_all_cores
from jaxmlr.study.declare.errors import StudyError as StudyError
from jaxmlr.study.declare.one_trial import Trajectory as Trajectory
from jaxmlr.study.declare.problem import Problem as Problem
from jaxmlr.study.declare.spec import Study as Study
from jaxmlr.study.results.dataset import best as best
from jaxmlr.study.results.dataset import to_dataframe as to_dataframe
from jaxmlr.study.run.engine import run_study as run_study
from jaxmlr.study.run.placement import run_block as run_block
from jaxmlr.study.run.published import load as load
