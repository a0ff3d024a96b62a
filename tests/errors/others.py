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
    "study --out out --methods none,none": ("found the methods ['none', 'none'], expected at least one, and each once"),
    "study --out out --seeds 0": "found 0 seeds, expected at least 1",
    "study --out out --readouts eyes": (
        "--readouts: found ['eyes'], expected one of 'finetune', 'probe', 'taught', 'ridge', 'student', "
        "'mean-teacher', 'cross-pseudo', 'cross-consistency', 'rectified-pyramid'"
    ),
    "study --out out --preset paper": (
        "--preset: found paper, expected one of 'paper-cifar10', 'paper-cifar100', 'paper-tinyimagenet', "
        "'paper-imagenet', 'paper-vgg', 'paper-segmentation', 'best-cifar10'"
    ),
    "study --out out --preset paper-cifar10 --task segmentation": (
        "found the preset 'paper-cifar10', which is of --task classification: give that, or leave it out"
    ),
    "study --out out --jobs 0": "found 0 jobs, expected at least 1",
    "study --out out --search -1": "found -1 trials of a search, expected at least 1, or 0 for no search",
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
    "benchmark --out out --repeats 1": "found repeats 1, batch_size 64: expected at least 5 and 2",
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
    "study --out out --data images --methods weights": ("the method 'weights' needs the weights: give --weights FILE"),
    "study --out out --data images --labels some": (
        "found the amount of labels 'some', expected a total (400), a fraction with a decimal point (0.01; 1.0 "
        "is all) or a count a class (5/class)"
    ),
}
