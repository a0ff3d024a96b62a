"""Mistakes with `fasthebb finetune`, and the line that is said of each; `...` stands for what another library says."""

ERRORS = {
    "finetune --out out --labels a-few": (
        "found the amount of labels 'a-few', expected a total (400), a fraction with a decimal point (0.01; "
        "1.0 is all) or a count a class (5/class)"
    ),
    "finetune --out out --data images --labels 5000": (
        "asked for 5000 labels, there are 8 in the training images: ask for fewer"
    ),
    "finetune --out out --data images --labels 1": (
        "found the amount of labels '1', which is 1 for 2 classes, expected at least one a class: ask for more"
    ),
    "finetune --out out --labels 0": (
        "found the amount of labels '0', expected a total (400), a fraction with a decimal point (0.01; 1.0 is "
        "all) or a count a class (5/class)"
    ),
    "finetune --out out --data images --labels 0.0001": (
        "found the amount of labels '0.0001', which is 0 for 2 classes, expected at least one a class: ask for more"
    ),
    "finetune --out out --data images --labels 100/class": (
        "asked for 100/class labels, but of the training images class ant has 4, class bee has 4: ask for fewer"
    ),
    "finetune --out out --init nowhere": (
        "found no weights at nowhere, expected a run folder with encoder.safetensors or such a file"
    ),
    "finetune --out out --init w.safetensors": (
        "w.safetensors is not a readable safetensors file (broken or truncated?): ..."
    ),
    "finetune --out out --init plain.safetensors": (
        "plain.safetensors was not written by fasthebb: it does not say which network it is of"
    ),
    "finetune --out out --init run --model cnn10": (
        "--model cnn10 does not fit run, which was pre-trained with cnn6: leave the option out, or pre-train again"
    ),
    "finetune --out out --init run --data images --image-size 40": (
        "--image-size 40 does not fit run, which was pre-trained with 24: leave the option out, or pre-train again"
    ),
    "finetune --out out --data flat": (
        "found 8 images and no labels in 'flat': expected a folder for each class, a label column, or a label "
        "file (file,label)"
    ),
    "finetune --out out --data one": (
        "found a single class (ant) in 'one', expected at least two: label more images, or give the folder "
        "inside it if that one holds the classes"
    ),
    "finetune --out out --data few": (
        "found 2 classes with a single image in 'few' (ant, bee), expected at least two a class: label more "
        "images or leave the class out"
    ),
    "finetune --out out --label-file nowhere.csv": ("found no label file 'nowhere.csv': did you mean 'twice.csv'?"),
    "finetune --out out --data flat --label-file columns.csv": (
        "found the columns picture, kind in 'columns.csv', expected at least file and label: rename them, or "
        "add a first line that names them"
    ),
    "finetune --out out --data flat --label-file twice.csv": (
        "'twice.csv' names 'f0.png' twice: keep one line an image"
    ),
    "finetune --out out --data flat --label-file empty.csv": (
        "found no lines in 'empty.csv' below the header, expected one an image: file, label"
    ),
    "finetune --out out --data flat --label-file missing.csv": (
        "'missing.csv' names 1 file not among the 8 images of 'flat' (f99.png): expected paths relative to that folder"
    ),
    "finetune --out out --data flat --label-file split.csv": (
        "found the split 'later' in 'split.csv', expected train, validation or test"
    ),
    "finetune --out out --data flat --label-file cells.csv": (
        "line 2 of 'cells.csv' has more cells than the header: quote what contains a ','"
    ),
    "finetune --out out --data flat --label-file latin.csv": ("'latin.csv' is not UTF-8 text: save it as CSV UTF-8"),
    "finetune --out out --group patient": (
        "found no column 'patient' for groups in 'digits': found no columns; groups come from a label file or a table"
    ),
    "finetune --out out --data flat --label-file good.csv --group patient": (
        "found no column 'patient' for groups in 'flat': found file, label"
    ),
    "finetune --out out --class-weights some": "--class-weights: found some, expected one of 'none', 'balanced'",
    "finetune --out out --select best": ("--select: found best, expected one of 'last', 'labelled-cv', 'validation'"),
    "finetune --out out --taught true --probe true": (
        "--taught teaches the classifier by a Hebbian rule: leave out --probe, --select, --class-weights"
    ),
    "finetune --out out --ridge true --taught true": (
        "--ridge fits the classifier at once: leave out --probe, --taught, --select, --class-weights"
    ),
    "finetune --out out --student 2": (
        "--student learns from a ridge regression, once: give --ridge, and leave out --cv"
    ),
    "finetune --out out --rounds 2": "found --rounds 2 without --student: give --student too, or leave it out",
    "finetune --out out --rounds 0 --ridge true --student cnn8": "found --rounds 0, expected at least 1",
    "finetune --out out --read norm9 --width 0.1": (
        "found 'norm9' as a layer to read, expected some of conv1, relu1, pool1, norm1, conv2, relu2, norm2, conv3, "
        "relu3, pool3, norm3, conv4, relu4, norm4, flatten, dense5, relu5, norm5"
    ),
    "finetune --out out --read norm1 --side 0": "found a side of 0 positions, expected at least 1",
    "finetune --out out --views 2": "found --views 2 without --ridge: give --ridge too, or leave it out",
    "finetune --out out --rule hpca --probe true": (
        "--rule lets the hidden layers learn, which --probe, --taught and --ridge leave as they are: give one"
    ),
    "finetune --out out --cv 1": (
        "found --cv 1 and --select last, expected at least 2 folds (or --cv 0), and --select last"
    ),
    "finetune --out out --taught true --code 16": (
        "--taught and --ridge make a single layer, the last: leave out --code"
    ),
    "finetune --out out --momentum two": "--momentum: found two, expected a number",
    "finetune --out out --data few --select labelled-cv": (
        "found 2 classes with a single image in 'few' (ant, bee), expected at least two a class: label more "
        "images or leave the class out"
    ),
    "finetune --out out --data images --select labelled-cv --labels 1/class": (
        "found a class with a single labelled image, expected at least two to choose by cross-validation: use "
        "more labels, or --select last"
    ),
    "finetune --task segmentation --out out --data no-masks": (
        "found 8 images and no masks in 'no-masks': expected folders images/ and masks/ with files of the same "
        "names (if divided, below train/, validation/ and test/), or a table with the columns image and mask"
    ),
    "finetune --task segmentation --out out --data other-size": (
        "found 'images/n0.png' of 24 x 24 pixels and its mask 'masks/n0.png' of 20 x 24 pixels, expected the "
        "same size: draw or export it again"
    ),
    "finetune --task segmentation --out out --data unmatched": (
        "found 1 image without a mask (images/n0.png) and 1 mask without an image (masks/m0.png) in "
        "'unmatched', expected a mask of the same name for each image: add or remove them, or give images "
        "without masks apart, as unlabelled (--unlabelled)"
    ),
    "finetune --task segmentation --out out --data nuclei --labels 0.5/class": (
        "found the amount of masks '0.5/class', but a mask may show several classes: expected a total (5) or a "
        "fraction with a decimal point (0.05; 1.0 is all)"
    ),
    "finetune --task segmentation --out out --data nuclei --labels 99": (
        "asked for 99 masks, there are 4 for training: ask for at least one and at most those"
    ),
    "finetune --task segmentation --out out --data nuclei --probe true": (
        "found --probe true, which --task segmentation has not: leave it out"
    ),
    "finetune --task segmentation --out out --data nuclei --init run": (
        "run/encoder.safetensors is of a network for 'classification', expected 'segmentation': give --task "
        "classification"
    ),
    "finetune --task segmentation --out out --data nuclei --depth 99": "unet: depth must be at most 16, got 99",
    "finetune --task segmentation --out out --data nuclei --model unett": (
        "there is no segmentation model 'unett': did you mean 'unet'? (models: ...)"
    ),
    "finetune --task segmentation --out out --data instances --labels 1.0": (
        "found the value 2 in the mask of 'images/n3.png', which is no class: there are 0, 1, the values of "
        "the training masks; mend the mask, give it to training, or name the value of pixels that count for "
        "nothing by ignore_value (--ignore-value)"
    ),
    "finetune --out out --momentum -1": "found --momentum -1.0, expected a number from 0 on",
    "finetune --out out --stretch 0": "found --stretch 0.0, expected a number above 0",
    "finetune --out out --dropout 2": "found --dropout 2.0, expected a number from 0 to below 1",
    "finetune --out out --epochs -2": "found --epochs -2, expected a number from 0 on",
    "finetune --out out --frozen conv1": "found --frozen conv1, which --task classification has not: leave it out",
    "finetune --out out --views -2 --ridge true": "found --views -2, expected a number of images, or 0 for none",
    "finetune --out out --code -2 --data images": "found a code of -2 neurons, expected at least 1",
    "finetune --out out --init model.onnx": (
        "found the exported network model.onnx, which fasthebb predict alone reads: give the run folder that it is of"
    ),
    "finetune --out out --data images --views 5 --ridge true --augment none": (
        "--views needs images that may be changed at random: give --augment, or leave it out"
    ),
    "finetune --out out --data images --stream true --cv 2": (
        "--stream has no --cv: give images for validation and test, or leave out --stream"
    ),
    "finetune --out out --data images --stream true --ridge true": (
        "--ridge and --student need the images in memory, and these are a stream (by --stream, or as too many): leave "
        "one of them out"
    ),
    "finetune --out out --data images --label-file images": (
        "found a folder 'images', expected the label file itself: give the path of the file"
    ),
    "finetune --out run --data images": (
        "run holds a run of another configuration (the command is pretrain, asked for finetune; --batch-size is 8, "
        "asked for 64; --rule is fasthebb.rules.hpca.HPCA, now left out): choose another --out, or repeat that run"
    ),
    "finetune --task segmentation --out out --data nuclei --cv 1": (
        "found --cv 1, expected at least 2 folds, or 0 for none"
    ),
    "finetune --task segmentation --out out --data nuclei --depth 1 --frozen nothing": (
        "frozen: 'nothing' matches no layer of the features; there are down1, down1.conv1, down1.norm1, down1.relu1, "
        "down1.conv2, down1.norm2, down1.relu2, down2, ..."
    ),
    "finetune --task segmentation --out out --data nuclei --depth 1 --features-lr -1": (
        "features_lr must not be negative, got -1.0"
    ),
    "finetune --task segmentation --out out --data nuclei --model fcn_resnet50 --depth 2": (
        "found --depth 2, which fcn_resnet50 has not: leave it out"
    ),
}
