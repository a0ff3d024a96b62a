"""Mistakes with `fasthebb pretrain`, and the line that is said of each; `...` stands for what another library says."""

ERRORS = {
    "pretain --out out": "unknown command 'pretain': did you mean pretrain? (known: ...)",
    "pretrain": "--out is missing, which has no default",
    "pretrain --out out --epoks 3": "unknown option --epoks: did you mean --epochs? (known: ...)",
    "pretrain --out out --rule hpka": (
        "unknown rule 'hpka': did you mean hpca? (known: ...); or the module.Class of your own"
    ),
    "pretrain --out out --rule torch.nn.Linear": (
        "--rule: found torch.nn.Linear, which is no learning rule, expected a name such as hpca or the "
        "module.Class of a subclass of fasthebb.Rule"
    ),
    "pretrain --out out --rule no_such_module.Rule": (
        "--rule: found no_such_module.Rule, and there is no module no_such_module: check the spelling and the "
        "working directory"
    ),
    "pretrain --out out --rule hpca --rule.maxlr 3": (
        "unknown option --rule.maxlr of hpca: did you mean --rule.max_lr? (known: ...)"
    ),
    "pretrain --out out --rule hpca --rule.max_lr 0": (
        "HPCA max_lr: found 0.0, expected a positive number or None for no bound"
    ),
    "pretrain --out out --rule hpca --rule.activation sigmoid": (
        "--rule.activation: found sigmoid, expected one of 'relu', 'tanh', 'identity'"
    ),
    "pretrain --out out --rule swta --rule.temperature -1": (
        "SWTA temperature: found -1.0, expected a positive number such as 0.02"
    ),
    "pretrain --out out --model cnn66": "there is no model 'cnn66': did you mean 'cnn6'? (models: ...)",
    "pretrain --out out --model resnet18 --channels 1 --data images": (
        "resnet18 of torchvision takes 3 channels, got 1: choose --channels 3"
    ),
    "pretrain --out out --model resnet18 --width 0.5": (
        "resnet18: found width 0.5 and hidden 0, expected 1 and 0: its layers are as they are"
    ),
    "pretrain --out out --epochs many": "--epochs: found many, expected a whole number",
    "pretrain --out out --epochs 0": "epochs must be at least 1, got 0",
    "pretrain --out out --lr -1": "lr must not be negative, got -1.0",
    "pretrain --out out --lr nan": "--lr: found nan, expected a number",
    "pretrain --out out --checkpoint-minutes -1": "checkpoint_minutes: found -1, expected 0, for never, or more",
    "pretrain --out out --batch-size 0": "found the batch size 0, expected at least 1",
    "pretrain --out out --precision 8bit": "--precision: found 8bit, expected one of '32-true', 'bf16-mixed'",
    "pretrain --out out --augment strong": (
        "--augment: found strong, expected one of 'none', 'shift', 'light', 'hard'"
    ),
    "pretrain --out out --image-size 9": "cnn6: images must be at least 24 pixels wide and high, got 9",
    "pretrain --out out --image-size 400": (
        "cnn6: at an image size of 400 the dense layer would have 9,463 million weights, more than the 110 "
        "million allowed; choose an image size of at most 63 pixels (--image-size 63) or at most 47 hidden "
        "neurons or a width that leaves at most 2 channels in the last convolution"
    ),
    "pretrain --out out --image-size 0": "cnn6: images must be at least 24 pixels wide and high, got 0",
    "pretrain --out out --channels 0": "cnn6: channels must be at least 1, got 0",
    "pretrain --out out --width 0": "cnn6: width must be above 0, got 0.0",
    "pretrain --out out --method gan": (
        "--method: found gan, expected one of 'hebbian', 'at-once', 'vae', 'vae-paper'"
    ),
    "pretrain --out out --method at-once --epochs 3": (
        "--method at-once takes every layer in turn, without steps: leave out --layers, --order, --epochs and "
        "--lr (--lr 0 leaves the weights at rest, as a control)"
    ),
    "pretrain --out out --select taught --order greedy": (
        "--select taught looks on while all layers learn by a rule: leave out --method and --order"
    ),
    "pretrain --out out --layers conv9": (
        "pattern 'conv9' matches no layer; did you mean 'conv4'? layers that can learn: 'conv1', 'conv2', "
        "'conv3', 'conv4', 'dense5'"
    ),
    "pretrain --out out --data no/such/folder": (
        "found no data 'no/such/folder': check the spelling and the working directory"
    ),
    "pretrain --out out --data digitz": "found no data 'digitz': did you mean 'digits'?",
    "pretrain --out out --data empty": (
        "found an empty folder 'empty', expected images, parquet files or WebDataset shards"
    ),
    "pretrain --out out --data broken": (
        "none of the images of 'broken' for training or prediction can be read; the first, cut.png: ..."
    ),
    "pretrain --out out --data archive.zip": (
        "found the file 'archive.zip', expected a folder of images, .parquet or .tar: unpack it or give its folder"
    ),
    "pretrain --out out --data table.parquet": (
        "found an unreadable parquet file 'table.parquet' (...): download it again"
    ),
    "pretrain --out out --data images --unlabelled no/such/folder": (
        "found no data 'no/such/folder': check the spelling and the working directory"
    ),
    "pretrain --out out --config no-such.yaml": "--config: found no file no-such.yaml",
    "pretrain --out out --config bad.yaml": "--config: found no YAML (...), expected NAME: VALUE in each line",
    "pretrain --out out --config bomb.yaml": (
        "--config: found no YAML (it stands for more than 10000 values), expected NAME: VALUE in each line"
    ),
    "pretrain --out out --config list.yaml": "--config: found - epochs, expected NAME: VALUE in each line",
    "pretrain --out out --config unknown.yaml": (
        "unknown option epoks in the file of --config: did you mean epochs? (known: ...)"
    ),
    "pretrain --out taken": "taken exists and is not a run of fasthebb: choose another --out",
    "pretrain --out a-file": "a-file exists and is not a run of fasthebb: choose another --out",
    "pretrain --out run --data digits --seed 1": (
        "run holds a run of another configuration (--data is images, asked for digits; --seed is 0, asked for "
        "1; --batch-size is 8, asked for 64): choose another --out, or repeat that run"
    ),
    "pretrain --out out --task painting": ("--task: found painting, expected one of 'classification', 'segmentation'"),
    "pretrain --out out --depth 3": "found --depth 3, which --task classification has not: leave it out",
    "pretrain --out out --workers 2": ("found --workers 2, which decode a stream: give --stream too, or leave it out"),
    "pretrain --out out --stream true --data digits": (
        "found the digits of scikit-learn, which are not read as a stream: leave out --stream"
    ),
    "pretrain --out out --data images --rule wta --rule.classes 3": (
        "pre-training has images alone, and WTA needs labels: leave classes out"
    ),
    "pretrain --out out --data images --rule fasthebb.GlobalGuided": (
        "pre-training has images alone, and GlobalGuided needs the gradient of a loss: take another"
    ),
    "pretrain --out out --data images --channels 2": (
        "found 1 channel in 'ant/a0.png', asked for 2: only 1 and 3 are converted to each other"
    ),
    "pretrain --out out --rule hpca --rule.max_lr much": "--rule.max_lr: found much, expected a number",
    "pretrain --out out --batch-size many": "--batch-size: found many, expected a whole number",
    "pretrain --out out --data images --devices 0": ("found --devices 0 and --nodes 1, expected at least 1 of each"),
    "pretrain --task segmentation --out out --data no-masks --hidden 3": (
        "found --hidden 3, which --task segmentation has not: leave it out"
    ),
    "pretrain out": "found 'out', expected options alone: each begins with --, and is followed by one value",
    'pretrain --out out --data ""': "--data: found no value, expected one: give it, or leave the option out",
    "pretrain --out out --seed 99999999999999999999999": "--seed: found 99999999999999999999999, expected fewer digits",
    "pretrain --out out --layers": "--layers: found no value, expected one: give it, or leave the option out",
    "pretrain --out out --epochs=": "--epochs: found nothing, expected a whole number",
    "pretrain --out out --config images": "--config: found the folder images, expected a file of options",
    "pretrain --out out --rule fasthebb.NoSuch": (
        "--rule: found fasthebb.NoSuch, and there is no NoSuch in the module fasthebb: check the spelling"
    ),
    "pretrain --out out --data images --hidden -1": "cnn6: hidden must be at least 0, got -1",
    "pretrain --out out --model vgg9": ("there is no model 'vgg9': did you mean 'vgg19'? (models: ...)"),
    "pretrain --out out --logger nologger": (
        "--logger: found 'nologger', expected tensorboard, none, or the module.Class of a Lightning logger"
    ),
    "pretrain --out out --logger no.such": (
        "--logger: no.such cannot be imported (No module named 'no'): expected tensorboard, none, or the module.Class "
        "of a Lightning logger"
    ),
    "pretrain --out out --logger fasthebb.Rule": (
        "--logger: fasthebb.Rule is no logger, expected tensorboard, none, or the module.Class of a Lightning logger"
    ),
    'pretrain --out out --logger-options "{a: 1}"': (
        "--logger-options: found a, which are for a logger's module.Class, and --logger is tensorboard: leave them out"
    ),
    "pretrain --out out --devices 2 --method vae": (
        "found --method vae, which one process does alone, expected --devices 1 and no launcher"
    ),
    "pretrain --out out --data images --stream true --group patient": (
        "--stream reads labels and splits from folders, tables and shards alone: leave out --label-file and --group, "
        "or --stream"
    ),
    "pretrain --out out --task segmentation --data nuclei --crop 0": (
        "found the crop (0, 0) for flat images, expected (H, W) of at least 1 each"
    ),
    "pretrain --out out --task segmentation --data nuclei --ignore-value -1": (
        "found -1 for the ignore value, expected at least 0"
    ),
}
