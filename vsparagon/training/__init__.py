"""The parts of the training loop in scripts/train.py. Everything here may import torch and Pillow.

config.py               YAML -> a validated configuration
schema.py               what is wrong with a configuration
pictures.py             read images from files
pairs.py                read pairs of high and low resolution from files
resize.py               downscaling as super-resolution papers do it
degradation.py          make low resolution from high: downscaling, camera, video encoder
data.py                 crops of pairs, in batches
trainee.py              what is trained: generator, moving average, discriminator
porting.py              initialise a network from another's weights
reparameterisation.py   extra branches of convolutions during training, collapsed afterwards
quantisation.py         quantisation-aware training for int8
precision.py            float32, or mixed with bfloat16
losses.py               the generator's losses, except the adversarial one
gan.py                  the adversarial loss, and its balance
optimisation.py         optimisers, learning rates, moving average
soap.py                 the optimiser SOAP
validation.py           measure a generator's quality
quality.py              PSNR, SSIM, flicker
monitor.py              progress bar, log, TensorBoard
state.py                save and load what a run resumes from
"""
