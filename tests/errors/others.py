"""Mistakes with the other commands, and the line that is said of each; `...` stands for what another library says."""

ERRORS = {
    "evaluate --data digits": "--weights is missing, which has no default",
    "evaluate --weights nowhere": (
        "found no weights at nowhere, expected a run folder with classifier.safetensors or such a file"
    ),
    "evaluate --weights w.safetensors": (
        "w.safetensors is not a readable safetensors file (broken or truncated?): ..."
    ),
    "evaluate --weights run": (
        "found no weights at run, expected a run folder with classifier.safetensors or such a file"
    ),
    "evaluate --weights classifier --split most": (
        "--split: found most, expected one of 'test', 'validation', 'train', 'all'"
    ),
    "evaluate --weights classifier --split train --layers true": (
        "--layers compares the images that it scores with the training images, which --split train contains: "
        "choose --split test or validation"
    ),
    "evaluate --weights classifier --ignore-value 255": (
        "found --ignore-value 255, which is for segmentation, and classifier classifies whole images: leave it out"
    ),
    "predict --weights classifier --images flat --out out --tile 64": (
        "found --tile 64, which is for segmentation, and classifier classifies whole images: leave it out"
    ),
    "predict --weights nowhere --images flat --out out": (
        "found no weights at nowhere, expected a run folder with classifier.safetensors or such a file"
    ),
    "predict --weights run/encoder.safetensors --images flat --out out": (
        "these weights are an encoder without classes: fine-tune it first, with fasthebb finetune"
    ),
    "predict --weights classifier --images nothing --out out": (
        "found no image or folder of images 'nothing': check the spelling and the working directory"
    ),
    "predict --weights classifier --images empty --out out": (
        "found an empty folder 'empty', expected images, parquet files or WebDataset shards"
    ),
    "predict --weights classifier --images flat --out out --batch-size 0": (
        "found the batch size 0, expected at least 1"
    ),
    "predict --weights model.onnx --images flat --out out": (
        "model.onnx is not a readable ONNX file (broken or truncated?): ..."
    ),
    "predict --weights model.pt2 --images flat --out out": (
        "model.pt2 can run code of whoever wrote it, as every file of torch.export: if that was you, set "
        "FASTHEBB_TRUST_PT2=1, otherwise ask for an ONNX file, which cannot"
    ),
    "demo --out out --seeds 0": "--seeds: found 0, expected at least 1",
    "study --out out --methods none,gan": (
        "method 'gan': unknown rule 'gan' (known: ...); other methods: none, none-tuned, random, weights, vae, "
        "vae-paper"
    ),
    "study --out out --methods none,none": ("found --methods none,none, expected at least one, and each once"),
    "study --out out --seeds 0": "found --seeds 0, expected at least 1",
    "study --out out --readouts eyes": (
        "--readouts: found eyes, expected one of 'finetune', 'probe', 'taught', 'ridge', 'student', "
        "'mean-teacher', 'cross-pseudo', 'cross-consistency', 'rectified-pyramid'"
    ),
    "study --out out --preset paper": (
        "--preset: found paper, expected one of 'paper-cifar10', 'paper-cifar100', 'paper-tinyimagenet', "
        "'paper-imagenet', 'paper-vgg', 'paper-segmentation', 'best-cifar10'"
    ),
    "study --out out --preset paper-cifar10 --task segmentation": (
        "found the preset 'paper-cifar10', which is of --task classification: give that, or leave it out"
    ),
    "study --out out --jobs 0": "found --jobs 0, expected at least 1",
    "study --out out --search -1": "found --search -1, expected a number of trials, or 0 for no search",
    "report nowhere": (
        "found no nowhere/summary.json, expected the folder of a study, as its --out: give such a folder, or "
        "run fasthebb study first"
    ),
    "report empty": (
        "found no empty/summary.json, expected the folder of a study, as its --out: give such a folder, or run "
        "fasthebb study first"
    ),
    "report no-json": (
        "no-json/summary.json is truncated or no JSON at line 1, expected a list of objects: run the study's "
        "command again"
    ),
    "report no-list": (
        "no-list/summary.json: found an object, expected a list of objects: run the study's command again"
    ),
    "report no-method": (
        "no-method/summary.json, entry 1: found no 'top1', expected one in each cell: run the study's command again"
    ),
    "benchmark --out out --repeats 1": "found --repeats 1 and --batch-size 64, expected at least 5 and 2",
    "benchmark --out out --rules hpka": "unknown rule 'hpka': did you mean hpca? (known: ...)",
    "benchmark --out out --model nonet": "there is no network 'nonet' in fasthebb (...), torchvision or timm",
    "watch nowhere": "found no folder nowhere, expected that of a run, or of several",
    "watch empty": (
        "found no log in empty: pretrain and finetune write one from their first step on, unless they were "
        "given another --logger, or learn without steps"
    ),
    "study --out out --data images --methods none,hpka": (
        "method 'hpka': unknown rule 'hpka': did you mean hpca? (known: ...); other methods: none, none-tuned, "
        "random, weights, vae, vae-paper"
    ),
    "study --out out --data images --methods hybrid": (
        "found the method 'hybrid', expected the rule that is to go on beside backprop: hpca+hybrid"
    ),
    "study --out out --data images --methods none@conv1": (
        "found layers, hybrid or at-once in the method 'none@conv1', expected them behind a rule only"
    ),
    "study --out out --data images --methods weights": ("the method 'weights' starts from a file: give --weights FILE"),
    "study --out out --data images --labels some": (
        "found the amount of labels 'some', expected a total (400), a fraction with a decimal point (0.01; 1.0 "
        "is all) or a count a class (5/class)"
    ),
    "evaluate --weights model.onnx --data images": (
        "found the exported network model.onnx, which fasthebb predict alone reads: give the run folder that it is of"
    ),
    "evaluate --weights classifier --data flat": (
        "found no labelled images for test in 'flat': give labelled ones, or another split"
    ),
    "evaluate --weights classifier --data nuclei": (
        "found 2 classes in 'nuclei' that the classifier does not know (images, masks); it knows ant, bee: evaluate it "
        "on images of its own classes"
    ),
    "predict --weights classifier --images archive.zip": (
        "found the file 'archive.zip', expected a folder of images, .parquet or .tar: unpack it or give its folder"
    ),
    "study --out out --readouts finetune,eyes": (
        "--readouts: found eyes, expected one of 'finetune', 'probe', 'taught', 'ridge', 'student', 'mean-teacher', "
        "'cross-pseudo', 'cross-consistency', 'rectified-pyramid'"
    ),
    "study --out out --batch-size 0": "found --batch-size 0, expected at least 1",
    "study --out out --lr -1": "found --lr -1.0, expected a number from 0 on",
    "study --out out --methods a;b": (
        "found the method 'a;b', expected one of none, none-tuned, random, weights, vae, vae-paper, a rule (hpca, "
        "swta, summed_swta, hebb, oja, sanger, wta, polynomial_wta, krotov_hopfield, softhebb, ica) or the "
        "module.Class of one, perhaps with @LAYER/LAYER, +hybrid, +at-once or +whiten behind it"
    ),
    "study --out out --methods hpca@conv1+at-once": (
        "found layers in the method 'hpca@conv1+at-once', and at once all of them learn: leave one out"
    ),
    "study --out out --methods global_guided@conv1": (
        "found the method 'global_guided@conv1', expected no layers, hybrid or at-once: the rule uses the gradient"
    ),
    "study --out out --methods global_guided --readouts probe": (
        "a method that learns with the gradient has no features before: give --readouts finetune"
    ),
    "study --out out --methods none-tuned": (
        "the method 'none-tuned' trains for as long as another one takes: add 'none' and one that pre-trains to "
        "--methods"
    ),
    "study --out out --methods no.such": (
        "method 'no.such': cannot import the rule 'no.such': No module named 'no'; other methods: none, none-tuned, "
        "random, weights, vae, vae-paper"
    ),
    "study --out out --methods torch.nn.Linear": (
        "method 'torch.nn.Linear': found no rule 'Linear' in the module 'torch.nn': expected a subclass of "
        "fasthebb.Rule; other methods: none, none-tuned, random, weights, vae, vae-paper"
    ),
    "study --out out --data images --stream true --label-file good.csv": (
        "--stream reads labels and splits from folders, tables and shards alone: leave out --label-file and --group, "
        "or --stream"
    ),
    "study --out out --stream true --search 2": (
        "--stream has no --search, --cv, --dry-run, ridge and student yet: leave one of them out"
    ),
    "study --out out --search 2 --readouts ridge": (
        "a search needs a learning rate to look for, which 'ridge' has not: let --readouts begin with finetune or probe"
    ),
    "study --out out --readouts mean-teacher": (
        "found --readouts mean-teacher, which --task classification has not: leave them out"
    ),
    "study --out out --task segmentation --data nuclei --methods hpca+hybrid": (
        "found the method 'hpca+hybrid', which --task segmentation has not: leave it out"
    ),
    "study --out run --data images --labels 1.0": "run/config.yaml is not of a study of fasthebb: choose another --out",
    "study --out taken --data images --labels 1.0": "taken exists and is not a study of fasthebb: choose another --out",
    "benchmark --rules oja --naive true": (
        "found --naive and --rules oja, of which none has a naive form: add hpca or swta"
    ),
    "benchmark --dtype float16 --device cpu": (
        "found --dtype float16 on the CPU, expected a GPU: choose --dtype bfloat16 or float32"
    ),
    "benchmark --device nothing": "found --device nothing, expected cpu, cuda, cuda:1 or the like",
    "watch flat/f0.png": "found no folder flat/f0.png, expected that of a run, or of several",
    "report no-text": "no-text/summary.json is empty, expected a list of objects: run the study's command again",
    "report no-cells": (
        "found no finished cell in no-cells/summary.json (1 failed, see failed.json), expected at least one: "
        "run the study again"
    ),
    "report no-object": (
        "no-object/summary.json, entry 1: found a number, expected an object: run the study's command again"
    ),
    "report cell-twice": (
        "cell-twice/summary.json, entry 2: found 'hpca' with amount '5', seed 0, draw 0, finetune twice, expected each "
        "cell once: remove one of the two"
    ),
    "report labels-text": (
        "labels-text/summary.json, entry 1: found labels = 'ten', expected a whole number of at least 1: run the "
        "study's command again"
    ),
    "report top1-high": (
        "top1-high/summary.json, entry 1: found top1 = 101.0, expected a score from 0 to 100 per cent: run the study's "
        "command again"
    ),
    "report readout-other": (
        "readout-other/summary.json, entry 1: found readout = 'eyes', expected finetune or probe or taught or ridge or "
        "student or mean-teacher or cross-pseudo or cross-consistency or rectified-pyramid: run the study's command "
        "again"
    ),
    "report seconds-below": (
        "seconds-below/summary.json, entry 1: found finetune_seconds = -1, expected a number of seconds: run the "
        "study's command again"
    ),
    "report method-list": (
        "method-list/summary.json, entry 1: found method = ['hpca'], expected text: run the study's command again"
    ),
}
