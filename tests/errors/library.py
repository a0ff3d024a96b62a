"""Calls of the library that are mistakes, the error that they end with, and all that it says.

Names are those of `situations` and of the library's rooms; `...` stands for what another library says.
"""

ERRORS = {
    'fasthebb.HPCA(activation="sigmoid")': (
        "ValueError",
        "HPCA activation: found 'sigmoid', expected one of ('relu', 'tanh', 'identity')",
    ),
    'fasthebb.HPCA(step_scale="fan_out")': (
        "ValueError",
        "HPCA step_scale: found 'fan_out', expected one of ('fan_in', 'none')",
    ),
    "fasthebb.HPCA(max_lr=0)": (
        "ValueError",
        "HPCA max_lr: found 0, expected a positive number or None for no bound",
    ),
    "fasthebb.HPCA(classes=0)": (
        "ValueError",
        "HPCA classes: found 0, expected at least 1, or None without labels",
    ),
    "fasthebb.SWTA(temperature=0)": (
        "ValueError",
        "SWTA temperature: found 0, expected a positive number such as 0.02",
    ),
    "fasthebb.SummedSWTA(inverse_temperature=0)": (
        "ValueError",
        "SummedSWTA inverse_temperature: found 0, expected a positive number such as 50",
    ),
    "fasthebb.WTA(k=0)": (
        "ValueError",
        "WTA k: found 0, expected at least one winner",
    ),
    "fasthebb.attach(nn.Linear(3, 2), fasthebb.WTA(k=3))": (
        "ValueError",
        "WTA k: found 3 winners, but a layer (or group) has only 2 neurons",
    ),
    "fasthebb.PolynomialWTA(power=-1)": (
        "ValueError",
        "PolynomialWTA power: found -1, expected a positive number such as 20",
    ),
    "fasthebb.KrotovHopfield(k=1)": (
        "ValueError",
        "KrotovHopfield k: found 1, expected a rank from 2 on",
    ),
    "fasthebb.KrotovHopfield(push=-1)": (
        "ValueError",
        "KrotovHopfield push: found -1, expected a number from 0 on",
    ),
    "fasthebb.attach(nn.Linear(3, 2), fasthebb.KrotovHopfield(k=3))": (
        "ValueError",
        "KrotovHopfield k: found rank 3, but a layer (or group) has only 2 neurons",
    ),
    "fasthebb.SoftHebb(inverse_temperature=0)": (
        "ValueError",
        "SoftHebb inverse_temperature: found 0, expected a positive number",
    ),
    "fasthebb.GlobalGuided(temperature=0)": (
        "ValueError",
        "GlobalGuided temperature: found 0, expected a positive number",
    ),
    "fasthebb.Hybrid(fasthebb.GlobalGuided())": (
        "ValueError",
        "Hybrid rule: found GlobalGuided, which uses the gradient itself",
    ),
    'fasthebb.Hybrid(fasthebb.HPCA(), local=float("nan"))': (
        "ValueError",
        "Hybrid local: found nan, expected a finite number",
    ),
    "fasthebb.attach(nn.Linear(3, 2), fasthebb.HPCA)": (
        "TypeError",
        "rule: found the class HPCA, expected an instance: HPCA()",
    ),
    'fasthebb.attach(nn.Linear(3, 2), "hpca")': (
        "TypeError",
        "rule: found 'hpca', expected a fasthebb.Rule such as fasthebb.HPCA()",
    ),
    "fasthebb.attach(nn.Linear(3, 2), {})": (
        "ValueError",
        "found an empty mapping of rules, expected {pattern: rule}",
    ),
    'fasthebb.attach(nn.Sequential(nn.Linear(3, 2)), {"first": fasthebb.HPCA()})': (
        "ValueError",
        "pattern 'first' matches no layer; layers that can learn: '0'",
    ),
    'fasthebb.attach(nn.Sequential(nn.Linear(3, 2)), fasthebb.HPCA(), exclude=["last"])': (
        "ValueError",
        "exclude: 'last' matches no layer; layers that can learn: '0'",
    ),
    'fasthebb.attach(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), {"1": fasthebb.HPCA()})': (
        "ValueError",
        "pattern '1' matches no layer; layers that can learn: '0'",
    ),
    "fasthebb.attach(nn.ReLU(), fasthebb.HPCA())": (
        "ValueError",
        (
            "found no layer of ReLU that can learn, expected at least one nn.Linear, nn.Conv1d, 2d, 3d or "
            "nn.ConvTranspose1d, 2d, 3d"
        ),
    ),
    'fasthebb.attach(nn.Linear(3, 2), fasthebb.HPCA(), local_scale=float("inf"))': (
        "ValueError",
        "local_scale: found inf, expected a finite number",
    ),
    'fasthebb.attach(nn.ConvTranspose1d(3, 2, 2), fasthebb.HPCA(), transposed="backward")': (
        "ValueError",
        "transposed: found 'backward', expected one of ('forward', 'reversed')",
    ),
    "fasthebb.attach(torch.compile(nn.Linear(3, 2)), fasthebb.HPCA())": (
        "RuntimeError",
        "found a compiled model, whose forward pass ignores new hooks: attach, then compile",
    ),
    "fasthebb.attach(attached(), fasthebb.HPCA())": (
        "ValueError",
        "layer '' has a rule already: detach() that plasticity first",
    ),
    "fasthebb.attach(deepcopy(attached(fasthebb.SWTA())), fasthebb.HPCA())": (
        "ValueError",
        (
            "layer '' was copied while SWTA was attached and still divides by its weight's norm: fold it "
            "first, with fasthebb.attach(model, fasthebb.SWTA()).detach()"
        ),
    ),
    'fasthebb.attach(tied(), {"0": fasthebb.SWTA()})': (
        "ValueError",
        (
            "layer '0' shares its weight with '1', which does not learn by the same rule: SWTA divides by the "
            "weight's norm, which cannot be folded for one of them alone"
        ),
    ),
    "plasticity().write_grad()": (
        "RuntimeError",
        (
            "no plastic layer has seen anything since the last call: is the model in eval mode or paused, was "
            "it compiled before attach, or is it a copy of the model that was attached?"
        ),
    ),
    "plasticity(seen=True, rule=fasthebb.HPCA(classes=2))": (
        "RuntimeError",
        "layer '' learns with labels: call the model inside plasticity.teacher(labels)",
    ),
    "with_labels(fasthebb.HPCA(classes=2), 3)": (
        "ValueError",
        "teacher: found 3 labels for 2 images in layer ''",
    ),
    "changed_too_early().write_grad()": (
        "RuntimeError",
        (
            "the weight of layer '' changed after it had learned from a batch; call plasticity.write_grad() "
            "before anything that changes weights, such as optimizer.step()"
        ),
    ),
    "plasticity(seen=True, rule=fasthebb.GlobalGuided()).write_grad()": (
        "RuntimeError",
        (
            "layer '': GlobalGuided uses the backprop gradient and found none; call loss.backward() before "
            "plasticity.write_grad()"
        ),
    ),
    "diverged().check()": (
        "NonFiniteError",
        (
            "the update of layer '' is no longer finite: use a smaller learning rate, bound it with "
            "HPCA(max_lr=...), and check the images for NaN; then start again from the last checkpoint"
        ),
    ),
    "detached().write_grad()": (
        "RuntimeError",
        "this plasticity was detached: call fasthebb.attach again",
    ),
    'plasticity().load_state_dict({"0.direction": torch.zeros(1)})': (
        "ValueError",
        "state '0.direction' is unknown: it was saved with other layers or another rule",
    ),
    "plasticity(rule=fasthebb.HPCA(max_lr=0.1)).load_state_dict({})": (
        "ValueError",
        "state '.direction' is missing: it was saved with other layers or another rule",
    ),
    "fasthebb.HPCA().fixed_point(torch.zeros(5, 3), 2, torch.Generator())": (
        "ValueError",
        ("HPCA learns by steps alone: Sanger, HPCA(activation='identity') and competitive rules can learn at once"),
    ),
    "fasthebb.Sanger().fixed_point(torch.zeros(5, 3), 4, torch.Generator())": (
        "ValueError",
        (
            "found 4 neurons of 3 inputs each, and there are no more principal components than inputs: take a "
            "narrower layer, or a competitive rule"
        ),
    ),
    "fasthebb.WTA().fixed_point(torch.zeros(2, 3), 4, torch.Generator())": (
        "ValueError",
        "found 2 patches for 4 neurons, expected at least one each: give more images",
    ),
    "fasthebb.Sums(update=1).count": (
        "AttributeError",
        "no sum named 'count'; this rule keeps update",
    ),
    "HebbianCallback(fasthebb.HPCA(classes=2))": (
        "ValueError",
        "found a rule with classes, whose labels a callback does not know: leave classes out",
    ),
    "HebbianPretraining(network(), fasthebb.HPCA(), epochs=0)": (
        "ValueError",
        "epochs must be at least 1, got 0",
    ),
    "HebbianPretraining(network(), fasthebb.HPCA(), epochs=1, lr=-1)": (
        "ValueError",
        "lr must not be negative, got -1",
    ),
    'HebbianPretraining(network(), fasthebb.HPCA(), epochs=1, order="last")': (
        "ValueError",
        "order must be one of together, greedy, got 'last'",
    ),
    "HebbianPretraining(network(), fasthebb.HPCA(classes=2), epochs=1)": (
        "ValueError",
        "pre-training has images alone, and HPCA needs labels: leave classes out",
    ),
    "HebbianPretraining(network(), fasthebb.GlobalGuided(), epochs=1)": (
        "ValueError",
        "pre-training has images alone, and GlobalGuided needs the gradient of a loss: take another",
    ),
    'HebbianPretraining(network(), fasthebb.HPCA(), epochs=1, order="greedy", classes=2)': (
        "ValueError",
        "classes: a classifier looks on at the whole network, expected order='together'",
    ),
    "Classifier(network(), classes=2, class_weights=torch.ones(3))": (
        "ValueError",
        "expected 2 class weights, one a class, found (3,)",
    ),
    "Classifier(network(), classes=2, probe=True, rule=fasthebb.HPCA())": (
        "ValueError",
        "a probe leaves the features as they are: give it no rule",
    ),
    "Classifier(network(), classes=2, rule=fasthebb.HPCA(classes=2))": (
        "ValueError",
        "found HPCA with classes, expected a rule without a teacher",
    ),
    "Segmenter(unet(classes=2, depth=1, width=2), lr=-1)": (
        "ValueError",
        "lr must not be negative, got -1",
    ),
    "Segmenter(unet(classes=2, depth=1, width=2), warm_up=1)": (
        "ValueError",
        "warm_up is a part of the steps, at least 0 and below 1, got 1",
    ),
    "Segmenter(unet(classes=2, depth=1, width=2), ema=1)": (
        "ValueError",
        "ema must be at least 0 and below 1, or None, got 1",
    ),
    "Segmenter(unet(classes=1, depth=1, width=2))": (
        "ValueError",
        "found a network with a single class, expected background and at least one more",
    ),
    "Segmenter(unet(classes=2, depth=1, width=2), class_weights=torch.ones(3))": (
        "ValueError",
        "expected 2 class weights, one a class, found (3,)",
    ),
    'Segmenter(unet(classes=2, depth=1, width=2), frozen=["encoder*"])': (
        "ValueError",
        (
            "frozen: 'encoder*' matches no layer of the features; there are down1, down1.conv1, down1.norm1, "
            "down1.relu1, down1.conv2, down1.norm2, down1.relu2, down2, ..."
        ),
    ),
    "Segmenter(unet(classes=2, depth=1, width=2), features_lr=-1)": (
        "ValueError",
        "features_lr must not be negative, got -1",
    ),
    'make_trainer(epochs=1, out=None, precision="16-mixed")': (
        "ValueError",
        "precision must be one of 32-true, bf16-mixed, got '16-mixed'",
    ),
    "ridge([torch.zeros(0, 3)], torch.zeros(0, dtype=torch.int64), classes=2)": (
        "ValueError",
        "there are no labelled images to fit a classifier to",
    ),
    "ridge([torch.full((2, 3), torch.nan)], torch.tensor([0, 1]), classes=2)": (
        "ValueError",
        "the features are not finite: pre-train again, with a lower learning rate",
    ),
    "reestimate_batch_norm(nn.BatchNorm1d(2), [(torch.zeros(1, 2),)])": (
        "ValueError",
        "batch norm needs at least one batch of two images to estimate its statistics",
    ),
    'load_weights("nowhere.safetensors")': (
        "WeightsError",
        "there is no weights file nowhere.safetensors",
    ),
    'load_weights("w.safetensors")': (
        "WeightsError",
        "w.safetensors is not a readable safetensors file (broken or truncated?): ...",
    ),
    "cnn6(classes=0)": (
        "ValueError",
        "cnn6: classes must be at least 1, got 0",
    ),
    "cnn6(width=0)": (
        "ValueError",
        "cnn6: width must be above 0, got 0",
    ),
    "cnn6(image_size=8)": (
        "ValueError",
        "cnn6: images must be at least 24 pixels wide and high, got 8",
    ),
    "cnn6(image_size=400)": (
        "ValueError",
        (
            "cnn6: at an image size of 400 the dense layer would have 9,463 million weights, more than the 110 "
            "million allowed; choose an image size of at most 63 pixels (--image-size 63) or at most 47 hidden "
            "neurons or a width that leaves at most 2 channels in the last convolution"
        ),
    ),
    "unet(classes=2, dims=4)": (
        "ValueError",
        "unet: dims must be 2 (images) or 3 (volumes), got 4",
    ),
    'unet(classes=2, norm="layer")': (
        "ValueError",
        "unet: norm must be one of batch, instance, none, got 'layer'",
    ),
    "unet(classes=2, depth=0)": (
        "ValueError",
        "unet: depth must be at least 1, got 0",
    ),
    "unet(classes=2, depth=99)": (
        "ValueError",
        "unet: depth must be at most 16, got 99",
    ),
    'build_model("cnn66")': (
        "ValueError",
        "there is no model 'cnn66': did you mean 'cnn6'? (models: ...)",
    ),
    'build_segmentation("unett")': (
        "ValueError",
        "there is no segmentation model 'unett': did you mean 'unet'? (models: ...)",
    ),
    'build_model("resnet18", channels=1)': (
        "ValueError",
        "resnet18 of torchvision takes 3 channels, got 1: choose --channels 3",
    ),
    'build_model("resnet18", width=0.5)': (
        "ValueError",
        "resnet18: found width 0.5 and hidden 0, expected 1 and 0: its layers are as they are",
    ),
    'load_images("no/such/folder")': (
        "DataError",
        "found no data 'no/such/folder': check the spelling and the working directory",
    ),
    'load_images("images", image_size=0)': (
        "DataError",
        "found the image size 0, expected pixels, at least 1",
    ),
    'load_images("images", channels=0)': (
        "DataError",
        "found 0 channels, expected at least 1",
    ),
    'load_images("images", labels="some")': (
        "DataError",
        (
            "found the amount of labels 'some', expected a total (400), a fraction with a decimal point (0.01; "
            "1.0 is all) or a count a class (5/class)"
        ),
    ),
    'load_images("images", labels="99")': (
        "DataError",
        "asked for 99 labels, there are 8 in the training images: ask for fewer",
    ),
    'load_images("images", labels="1")': (
        "DataError",
        "found the amount of labels '1', which is 1 for 2 classes, expected at least one a class: ask for more",
    ),
    'load_images("images", labels="9/class")': (
        "DataError",
        "asked for 9/class labels, but of the training images class ant has 4, class bee has 4: ask for fewer",
    ),
    'load_images("flat")': (
        "DataError",
        (
            "found 8 images and no labels in 'flat': expected a folder for each class, a label column, or a "
            "label file (file,label)"
        ),
    ),
    'load_images("one")': (
        "DataError",
        (
            "found a single class (ant) in 'one', expected at least two: label more images, or give the folder "
            "inside it if that one holds the classes"
        ),
    ),
    'load_images("few")': (
        "DataError",
        (
            "found 2 classes with a single image in 'few' (ant, bee), expected at least two a class: label "
            "more images or leave the class out"
        ),
    ),
    'load_images("flat", label_file="twice.csv")': (
        "DataError",
        "'twice.csv' names 'f0.png' twice: keep one line an image",
    ),
    'load_images("flat", label_file="good.csv", group="patient")': (
        "DataError",
        "found no column 'patient' for groups in 'flat': found file, label",
    ),
    'load_for_scoring("images", ["cat", "dog"], image_size=24, channels=1)': (
        "DataError",
        (
            "found 2 classes in 'images' that the classifier does not know (ant, bee); it knows cat, dog: "
            "evaluate it on images of its own classes"
        ),
    ),
    'load_folder_for_prediction("nothing", image_size=24, channels=1)': (
        "DataError",
        "found no image or folder of images 'nothing': check the spelling and the working directory",
    ),
    'load_masked("images")': (
        "DataError",
        (
            "found 16 images and no masks in 'images': expected folders images/ and masks/ with files of the "
            "same names (if divided, below train/, validation/ and test/), or a table with the columns image "
            "and mask"
        ),
    ),
    'load_masked("no-masks")': (
        "DataError",
        (
            "found 8 images and no masks in 'no-masks': expected folders images/ and masks/ with files of the "
            "same names (if divided, below train/, validation/ and test/), or a table with the columns image "
            "and mask"
        ),
    ),
    'load_masked("other-size")': (
        "DataError",
        (
            "found 'images/n0.png' of 24 x 24 pixels and its mask 'masks/n0.png' of 20 x 24 pixels, expected "
            "the same size: draw or export it again"
        ),
    ),
    'load_masked("unmatched")': (
        "DataError",
        (
            "found 1 image without a mask (images/n0.png) and 1 mask without an image (masks/m0.png) in "
            "'unmatched', expected a mask of the same name for each image: add or remove them, or give images "
            "without masks apart, as unlabelled (--unlabelled)"
        ),
    ),
    'load_masked("instances")': (
        "DataError",
        (
            "found the value 2 in the mask of 'images/n3.png', which is no class: there are 0, 1, the values "
            "of the training masks; mend the mask, give it to training, or name the value of pixels that count "
            "for nothing by ignore_value (--ignore-value)"
        ),
    ),
    'load_masked("nuclei", labels="5/class")': (
        "DataError",
        (
            "found the amount of masks '5/class', but a mask may show several classes: expected a total (5) or "
            "a fraction with a decimal point (0.05; 1.0 is all)"
        ),
    ),
    'load_masked("nuclei", labels="99")': (
        "DataError",
        "asked for 99 masks, there are 4 for training: ask for at least one and at most those",
    ),
    'ImageSet(torch.zeros(2, 1, 4, 4), torch.zeros(3), ["a", "b"])': (
        "DataError",
        ("expected images (N, C, H, W) with N labels, names and groups, found images (2, 1, 4, 4) and counts [2, 3]"),
    ),
    'MaskedSet([torch.zeros(1, 4, 4)], [torch.zeros(3, 4, dtype=torch.uint8)], ["a"])': (
        "DataError",
        "expected a mask of (4, 4) uint8, found (3, 4) torch.uint8 ('a')",
    ),
    "Preprocessing.fit(torch.zeros(0, 1, 4, 4))": (
        "DataError",
        "found images of shape (0, 1, 4, 4), expected square ones (N, C, S, S) and at least one",
    ),
    "Batches(some_images(), Preprocessing.fit(some_images()), batch_size=0, shuffle=True)": (
        "DataError",
        "found the batch size 0, expected at least 1",
    ),
    'Batches(some_images(), Preprocessing.fit(some_images()), batch_size=1, shuffle=True, augment="strong")': (
        "DataError",
        "found the augmentation 'strong', expected one of none, shift, light, hard",
    ),
    "Crops(some_masks(), Preprocessing.fit(some_masks()), crop=(0, 4), batch_size=1)": (
        "DataError",
        "found the crop (0, 4) for flat images, expected (H, W) of at least 1 each",
    ),
    "Crops(some_masks(), Preprocessing.fit(some_masks()), crop=(4, 4), batch_size=0)": (
        "DataError",
        "found the batch size 0, expected at least 1",
    ),
    "classification_scores(torch.zeros(2, 3), torch.tensor([0, -1]), 3)": (
        "ValueError",
        (
            "labels must lie between 0 and 2, found -1 to 0: leave unlabelled images (-1) out, and build the "
            "network with one output a class"
        ),
    ),
    "classification_scores(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 3)": (
        "ValueError",
        "there are no labelled images to score",
    ),
    "classification_scores(torch.full((1, 3), torch.nan), torch.tensor([0]), 3)": (
        "ValueError",
        "the network's outputs are not finite: it has diverged, train it again with a lower lr",
    ),
    "classification_scores(torch.zeros(2, 3), torch.tensor([0, 1]), 2)": (
        "ValueError",
        "expected logits (N, 2) and labels (N,), got (2, 3) and (2,)",
    ),
    "retrieval_scores(torch.ones(2, 3), torch.tensor([0, 0]), torch.ones(1, 3), torch.tensor([0]), k=0)": (
        "ValueError",
        "found k = 0, expected at least 1",
    ),
    "retrieval_scores(torch.ones(2, 3), torch.tensor([0, 0]), torch.ones(1, 3), torch.tensor([1]))": (
        "ValueError",
        "none of the queries is of a class of the database: there is nothing to retrieve",
    ),
    "retrieval_scores(torch.ones(2, 3), torch.tensor([0, -1]), torch.ones(1, 3), torch.tensor([0]))": (
        "ValueError",
        "labels must not be negative: leave unlabelled images (-1) out",
    ),
    "compare_masks([], [], 2)": (
        "ValueError",
        "expected a predicted mask for each true one, and at least one, found 0 and 0",
    ),
    "compare_masks([torch.zeros(4, 4)], [torch.zeros(4, 5)], 2)": (
        "ValueError",
        "mask 0: found a predicted mask of (4, 4) for a true one of (4, 5)",
    ),
    "knn_top1(torch.ones(2, 3), torch.tensor([0, 1]), torch.ones(1, 3), torch.tensor([0]), k=0)": (
        "ValueError",
        "found 0 neighbours, expected at least 1",
    ),
    "predict_tiles(nn.Identity(), torch.zeros(1, 8, 8), nn.Identity(), tile=4, overlap=4, classes=1)": (
        "ValueError",
        "found tiles of (4, 4) with an overlap of (4, 4), expected overlaps from 0 to below the tile",
    ),
    'HebbianTransformer(solver="newton").fit(ROWS)': (
        "ValueError",
        "solver: found 'newton', expected one of ('auto', 'steps', 'at-once')",
    ),
    "HebbianTransformer(epochs=-1).fit(ROWS)": (
        "ValueError",
        "epochs: found -1, expected an integer of at least 0",
    ),
    "HebbianTransformer(batch_size=0).fit(ROWS)": (
        "ValueError",
        "batch_size: found 0, expected an integer of at least 1",
    ),
    "HebbianTransformer(learning_rate=0).fit(ROWS)": (
        "ValueError",
        "learning_rate: found 0, expected a positive number",
    ),
    "HebbianTransformer(hidden_layer_sizes=()).fit(ROWS)": (
        "ValueError",
        "hidden_layer_sizes: found (), expected numbers of neurons such as (256,)",
    ),
    'HebbianTransformer(rule="hpka").fit(ROWS)': (
        "ValueError",
        "unknown rule 'hpka': did you mean hpca? (known: ...)",
    ),
    "HebbianTransformer(rule=3).fit(ROWS)": (
        "ValueError",
        "rule: found 3, expected a name such as 'wta' or a rule such as fasthebb.WTA()",
    ),
    'HebbianTransformer(rule="global_guided").fit(ROWS)': (
        "ValueError",
        (
            "rule: found 'global_guided', which needs labels or the gradient of a loss, expected a rule that "
            "learns from rows alone, such as 'wta'"
        ),
    ),
    "HebbianTransformer(rule=fasthebb.WTA(classes=2)).fit(ROWS)": (
        "ValueError",
        (
            "rule: found WTA(k=1, classes=2), which needs labels or the gradient of a loss, expected a rule "
            "that learns from rows alone, such as 'wta'"
        ),
    ),
    "HebbianTransformer(image_shape=(8,)).fit(ROWS)": (
        "ValueError",
        "image_shape: found (8,), expected channels, height and width such as (3, 32, 32)",
    ),
    "HebbianTransformer(image_shape=(8, 8)).fit(ROWS)": (
        "ValueError",
        "found rows of 4 numbers, expected 64, those of an image (1, 8, 8)",
    ),
    'HebbianTransformer(image_shape=(1, 8, 9), network="cnn6").fit(np.ones((3, 72)))': (
        "ValueError",
        (
            "network: found 'cnn6' for images of 8 x 9 pixels, which takes square ones alone: make them "
            "square, or choose one of triangle2, softhebb"
        ),
    ),
    'HebbianTransformer(device="abacus").fit(ROWS)': (
        "ValueError",
        "device: found 'abacus', expected 'auto', 'cpu', 'cuda' or the like",
    ),
    "HebbianTransformer().fit(ROWS).transform(np.ones((2, 1, 2, 2)))": (
        "ValueError",
        "found images (1, 2, 2), expected rows (N, D) as those that were fitted",
    ),
    'HebbianClassifier(readout="svm").fit(ROWS, [0, 1, 0])': (
        "ValueError",
        "readout: found 'svm', expected one of ('ridge', 'finetune')",
    ),
    "HebbianClassifier(finetune_epochs=-1).fit(ROWS, [0, 1, 0])": (
        "ValueError",
        "finetune_epochs: found -1, expected an integer of at least 0",
    ),
    'HebbianClassifier(unlabelled="none").fit(ROWS, [0, 1, 0])': (
        "ValueError",
        "unlabelled: found 'none', expected an integer such as -1, or None",
    ),
    "HebbianClassifier().fit(ROWS, [-1, -1, -1])": (
        "ValueError",
        "found no labelled row, only -1: expected some rows of each class",
    ),
    'HebbianModel.from_pretrained("./nowhere")': (
        "SharingError",
        "found no folder './nowhere', and no such model of fasthebb on the Hub (...): check the spelling",
    ),
    'HebbianModel.from_run("nowhere")': (
        "RunError",
        "found no weights at nowhere, expected a run folder with classifier.safetensors or such a file",
    ),
    'load_exported("nowhere.onnx")': (
        "ExportError",
        "found no file nowhere.onnx, expected an exported network",
    ),
    'load_exported("model.onnx")': (
        "ExportError",
        "model.onnx is not a readable ONNX file (broken or truncated?): ...",
    ),
    'load_exported("model.pt2")': (
        "ExportError",
        (
            "model.pt2 can run code of whoever wrote it, as every file of torch.export: if that was you, set "
            "FASTHEBB_TRUST_PT2=1, otherwise ask for an ONNX file, which cannot"
        ),
    ),
    'HebbianModel.from_pretrained("images")': (
        "SharingError",
        "found no model.safetensors in images, expected a folder of save_pretrained",
    ),
    'HebbianModel.from_pretrained("images", device="cpu")': (
        "SharingError",
        "found the argument 'device', expected force_download, token, cache_dir, local_files_only or revision",
    ),
    'HebbianModel.from_run("run").predict(torch.zeros(1, 1, 24, 24))': (
        "SharingError",
        "this is an encoder without classes, which gives features(images) alone: fine-tune it first",
    ),
    'HebbianModel.from_run("classifier")(torch.zeros(24, 24))': (
        "SharingError",
        "found (24, 24), expected a tensor of images (N, C, H, W)",
    ),
    'HebbianModel.from_run("classifier")([1])': (
        "SharingError",
        "found list, expected a tensor of images (N, C, H, W)",
    ),
    'HebbianModel.from_run("classifier")(torch.zeros(1, 1, 24, 24, dtype=torch.int64))': (
        "SharingError",
        "found images of torch.int64, expected torch.uint8, or float in [0, 1]",
    ),
    'HebbianModel.from_run("classifier")(torch.full((1, 1, 24, 24), 255.0))': (
        "SharingError",
        "found values from 255 to 255, expected uint8, or float in [0, 1]",
    ),
    'HebbianModel.from_run("classifier")(torch.zeros(1, 4, 24, 24))': (
        "DataError",
        "found 4 channels in 'image 0', asked for 1: only 1 and 3 are converted to each other",
    ),
    'HebbianModel.from_run("classifier").export("model.h5")': (
        "ExportError",
        "found the name 'model.h5', expected one that ends in .onnx or .pt2",
    ),
    'HebbianSegmenter.from_run("classifier")': (
        "SharingError",
        "classifier/classifier.safetensors is of a network for 'classification', expected 'segmentation'",
    ),
    "predict_logits(network(), [])": (
        "ValueError",
        "there are no images to predict: the loader is empty",
    ),
    "knn_top1(torch.ones(0, 3), torch.zeros(0), torch.ones(1, 3), torch.tensor([0]))": (
        "ValueError",
        "there is nothing to retrieve or to learn from: expected images of both kinds, found none of one",
    ),
    "knn_top1(torch.ones(2, 3), torch.zeros(3), torch.ones(1, 3), torch.tensor([0]))": (
        "ValueError",
        "expected features (N, 3) and labels (N,), found (2, 3) and (3,)",
    ),
    'svm_top1(torch.ones(2, 3), torch.tensor([0, 1]), torch.ones(1, 3), torch.tensor([0]), groups=["a"])': (
        "ValueError",
        "found 1 names of groups for 2 images, expected one an image",
    ),
    "overlay(torch.zeros(4, 4), torch.zeros(4, 4))": (
        "ValueError",
        "expected an image (C, *size) and a mask (*size), found (4, 4) and (4, 4)",
    ),
    "compare_masks([torch.zeros(4, 4)], [torch.zeros(4, 4)], 1)": (
        "ValueError",
        "found 1 as the number of classes, expected background and at least one more",
    ),
    "compare_masks([torch.zeros(4, 4)], [torch.full((4, 4), 255)], 2)": (
        "ValueError",
        "mask 0 has no pixel that counts, all are 255: leave its image out",
    ),
    "compare_masks([torch.zeros(4, 4)], [torch.full((4, 4), 7)], 2)": (
        "ValueError",
        "mask 0: true classes must lie between 0 and 1, found 7 to 7",
    ),
    "mean_interval([])": (
        "ValueError",
        "a mean needs at least one value",
    ),
    "predict_tiles(nn.Identity(), torch.zeros(1, 8, 8), nn.Identity(), tile=4, overlap=0, classes=3)": (
        "ValueError",
        "expected logits (4, 3, 4, 4) of the network, got (4, 1, 4, 4)",
    ),
    'build_model("vgg11", image_size=9)': (
        "ValueError",
        "vgg11: images must be at least 32 pixels wide and high, got 9",
    ),
    "cnn8(2, image_size=4)": (
        "ValueError",
        "cnn8: images must be at least 8 pixels wide and high, got 4",
    ),
    'build_model("cnn6", code=-1)': (
        "ValueError",
        "found a code of -1 neurons, expected at least 1",
    ),
    'build_segmentation("unet", classes=2, dims=3, depth=0)': (
        "ValueError",
        "unet: depth must be at least 1, got 0",
    ),
    'build_segmentation("fcn_resnet50", classes=2, dims=3)': (
        "ValueError",
        "fcn_resnet50 of torchvision is for images, got dims=3: choose unet for volumes",
    ),
    "VAE(network(), latent=0)": (
        "ValueError",
        "latent must be at least 1, got 0",
    ),
    "fasthebb.attach(nn.Linear(3, 2), fasthebb.HPCA(), reduce_dtype=torch.float16)": (
        "ValueError",
        "reduce_dtype: found torch.float16, expected None (as the sums are) or torch.bfloat16",
    ),
    'fasthebb.attach(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2)), {"0": fasthebb.HPCA()})': (
        "ValueError",
        (
            "pattern '0' names '0', which cannot learn: Embedding is not a kind of layer that learns: nn.Linear, "
            "nn.Conv1d, 2d, 3d or nn.ConvTranspose1d, 2d, 3d; exclude=['0'] leaves it out"
        ),
    ),
    'plasticity(rule=fasthebb.HPCA(max_lr=0.1)).load_state_dict({".direction": torch.zeros(5)})': (
        "ValueError",
        "state '.direction': found shape (5,), expected (1, 2)",
    ),
    "HebbianClassifier(finetune_learning_rate=0).fit(ROWS, [0, 1, 0])": (
        "ValueError",
        "finetune_learning_rate: found 0, expected a positive number",
    ),
    "HebbianClassifier().fit(ROWS, [0, 1, 0]).score(ROWS, [-1, -1, -1])": (
        "ValueError",
        "found no labelled row to score, only -1",
    ),
    "HebbianTransformer(image_shape=(1, 2, 2)).fit(np.ones((3, 2, 2, 1)))": (
        "ValueError",
        "found images of shape (2, 2, 1), expected (1, 2, 2): (channels, height, width)",
    ),
    "MeanTeacher(unet(classes=2, depth=1, width=2), ema=None)": (
        "ValueError",
        "a mean teacher is a running average, found ema=None: give it a decay, such as 0.99",
    ),
    "SegmentationVAE(unet(classes=2, depth=1, width=2), epochs=0)": (
        "ValueError",
        "epochs must be at least 1, got 0",
    ),
    "VAEPretraining(network(), epochs=0)": (
        "ValueError",
        "epochs must be at least 1, got 0",
    ),
    'layer_features(network(), [], ["features.conv9"])': (
        "ValueError",
        "the network has no layer 'features.conv9': did you mean 'features.conv4'?",
    ),
    'layer_features(network(), [], ["features.conv1"], side=0)': (
        "ValueError",
        "side: found 0, expected at least 1",
    ),
    'layer_features(nn.Sequential(nn.Flatten(0)), [(torch.zeros(2, 3), torch.zeros(2))], ["0"])': (
        "ValueError",
        "the layer '0' hands on (6,), expected (N, D) or (N, C, H, W)",
    ),
    'layer_features(network(), [], ["features.conv1"])': (
        "ValueError",
        "there are no images to take features of: the loader is empty",
    ),
    'VAE(build_model("resnet18", channels=3), latent=4)': (
        "ValueError",
        "a VAE is built around convolutions one behind the other: take cnn6, cnn10 or a VGG",
    ),
    "vgg(classes=2, depth=12)": (
        "ValueError",
        "vgg: depth must be one of 11, 13, 16, 19, got 12",
    ),
    'save_weights(Path("a-file/w.safetensors"), {}, {})': (
        "WeightsError",
        "cannot write a-file/w.safetensors: ...",
    ),
}
