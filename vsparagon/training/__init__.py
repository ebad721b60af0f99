"""Parts of the training loop in scripts/train.py. Everything here may import torch and Pillow.

config.py         YAML -> a checked configuration
pictures.py       pictures from files
pairs.py          pairs of high and low resolution from files
resize.py         reduction as papers do it
degradation.py    what makes low resolution: a reduction, a camera, an encoder
data.py           crops of pairs, in batches
trainee.py        what is trained: generator, moving average, discriminator
porting.py        weights of another network as a beginning
branches.py       branches of convolutions while they train
rounding.py       what 8-bit integers will round, rounded while it trains
losses.py         what the generator is to make small
gan.py            what generator and discriminator want of each other
optimisation.py   optimisers and rates
soap.py           one of the optimisers
validation.py     how good a generator is
quality.py        PSNR, SSIM, flicker
monitor.py        what one sees of a run
state.py          what a run goes on from
"""
