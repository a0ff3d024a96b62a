"""Mistakes with images and masks, and what is said of each; `...` stands for what another library says.

Files and folders are those of `odd_files`, names those of `fasthebb.data`.
"""

IMAGES = {
    "empty.png": "the file is empty",
    "text.png": "not an image, or damaged at its beginning",
    "cut.jpg": "not an image, or damaged at its beginning",
    "bomb.png": "it has more pixels than the 178956970 that are read",
    "deep-cut.png": "the 16-bit PNG is damaged or cut short",
    "deep-none.png": "the image has no pixels",
    "deep-huge.png": "40000 x 40000 pixels are more than the 178956970 that are read",
    "text.tif": "the TIFF cannot be read: it is damaged, or of a kind that is not read",
    "rows.tif": "the TIFF is cut short or damaged: some of its 4000 rows are missing",
    "complex.tif": "values of the type complex64 are no image",
    "nan.tif": "no pixel has a finite value",
    "stack.tif": "80 planes are a stack, not channels; save its slices as images",
    "report.dcm": "this DICOM file holds no image",
    "palette.dcm": "DICOM images with a colour palette are not read; export them as PNG",
    "none.dcm": "the image has no pixels",
}
"""Why an image cannot be read."""

VOLUMES = {
    "empty.png": "the file is empty",
    "cut.nii": "the NIfTI file is cut short: 463 of 472 bytes",
    "cut.nii.gz": "the NIfTI file is damaged or cut short",
    "huge.nii": "a NIfTI file of shape (30000, 30000, 30000) unfolds into 25145.7 GiB",
    "none.nii": "a NIfTI file of shape (0, 0, 0) is no image",
    "axes.nii": "a NIfTI file of shape (2, 2, 2, 70) is no volume of at most 64 channels",
    "complex.nii": "values of the type complex64 are no image",
    "cut.tif": "the TIFF is cut short or damaged",
    "axes.tif": "a TIFF of axes QQYX does not say which is depth: save it with axes such as ZCYX",
    "channels.tif": "a TIFF of axes ZCYX has 70 channels, at most 64 are read",
}
"""Why a volume cannot be read."""

MASKS = {
    "empty.png": "found an empty file where the mask 'masks/n.png' should be: draw it, or remove the image too",
    "deep.png": (
        "the mask 'masks/n.png' has colours of 16 bits, expected one channel of class numbers: draw or export it again"
    ),
    "colours.png": (
        "the mask 'masks/n.png' has colours, expected one channel of class numbers, or a palette: draw or export it "
        "again"
    ),
    "axes.tif": (
        "the mask 'masks/n.tif' has the axes TYX, expected one channel of class numbers: draw or export it again"
    ),
    "complex.tif": (
        "the mask 'masks/n.tif' has values of the type complex64, expected class numbers: draw or export it again"
    ),
    "half.tif": "the mask 'masks/n.tif' has the value 0.5, expected whole numbers: draw or export it again",
    "negative.tif": "the mask 'masks/n.tif' has the value -1, expected class numbers from 0: draw or export it again",
    "cut.tif": (
        "cannot read 'masks/n.tif': the TIFF is cut short or damaged; mend or remove it, or leave out strict "
        "(--strict), which skips it"
    ),
}
"""What is said of an image with such a mask."""

SETS = {
    'load_images("texts")': (
        "found no images in 'texts', only 3 other files (2 .txt, 1 .md): expected PNG, JPEG, TIFF, DICOM, ... or "
        "parquet files or .tar shards of images"
    ),
    'load_images("phone", strict=True)': "cannot read '1.heic': this format is not read; export it as PNG or TIFF",
    'load_images("tested")': (
        "found a single class (test) in 'tested', expected at least two: label more images, or give the folder inside "
        "it if that one holds the classes"
    ),
    'load_images("twice")': "'ant/4.png' and 'bee/0.png' are the same file, in different classes or splits: remove one",
    'load_images("unread")': "none of the training images of bee can be read: replace them",
    'load_images("untested")': "none of the images for test can be read: replace them",
    'load_images("untaught")': (
        "found 1 class without a training image in 'untaught' (bee): label training images of them"
    ),
    'load_images("pair")': (
        "found 4 labelled images in 'pair', too few to hold some out for validation: label at least three images a "
        "class, or give a split"
    ),
    'load_images("sizes", need_labels=False)': (
        "found 2 images of 1 channel, such as 0.png; 1 image of 5 channels, such as 2.tif, expected one number of "
        "channels: divide the folder or remove the few"
    ),
    'load_images("twice", group="patient")': (
        "found no column 'patient' for groups in 'twice': found no columns; groups come from a label file or a table"
    ),
    'load_images("twice", label_file="twice")': (
        "found a folder 'twice', expected the label file itself: give the path of the file"
    ),
    'load_images("twice", label_file="groups.csv")': (
        "found 2 groups in more than one of train, validation and test (0, 1): mend the splits, or name another column "
        "as group"
    ),
    'load_images("twice", label_file="alike.csv")': (
        "'alike.csv' names '0.png', which 2 images are called (ant/0.png, bee/0.png): give its path"
    ),
    'load_images("twice", label_file="quote.csv")': (
        "'quote.csv' is no table of comma-separated values (unexpected end of data): save it as CSV again"
    ),
    'load_images("columns.parquet")': "found no image column in 'columns.parquet' (picture, kind): expected 'image'",
    'load_images("labels.parquet")': (
        "found the label [0] in 'labels.parquet', expected one whole number or text an image"
    ),
    'load_images("names.parquet")': "found the label 2 in 'names.parquet', expected 0 to 1: it names 2 classes",
    'load_images("rows.parquet")': (
        "found no rows in the tables of 'rows.parquet', expected an image in each: download them again"
    ),
    'load_images("test.parquet", need_labels=False)': (
        "found only images of validation or test in 'test.parquet', expected some to train on: give these too"
    ),
    'load_images("leads-out.parquet", need_labels=False, strict=True)': (
        "cannot read '../flat/f0.png': its path leads out of the data folder; mend or remove it, or leave out strict "
        "(--strict), which skips it"
    ),
    'load_images("no-cell.parquet", need_labels=False, strict=True)': (
        "cannot read 'no-cell.parquet#0': the table's cell holds no image; mend or remove it, or leave out strict "
        "(--strict), which skips it"
    ),
    'load_images("shards-captions")': (
        "found no images in the shards of 'shards-captions': expected uncompressed .tar files of images"
    ),
    'load_images("shards-labels")': (
        "found the label '7' in 'shards-labels/0.tar', expected a line of classes.txt (0 to 1)"
    ),
    'load_images("shards-latin")': "'shards-latin/classes.txt' is not UTF-8 text: save it as UTF-8, one class a line",
    'load_images("shards-cut", strict=True)': (
        "found a damaged shard 'shards-cut/0.tar' (unexpected end of data): make it again"
    ),
    'load_images("shards-cut", need_labels=False)': (
        "none of the images of 'shards-cut' for training or prediction can be read; the first, 0.tar: damaged after 1 "
        "image: unexpected end of data"
    ),
    'load_images("shards-zipped")': (
        "found no images in the shards of 'shards-zipped' (damaged after 0 images: invalid header): expected "
        "uncompressed .tar files of images"
    ),
    'load_images("shards-more", strict=True)': (
        "found a damaged shard 'shards-more/0.tar' (it goes on with what is no tar, or was cut short): make it again"
    ),
    'load_images("idx-alone")': (
        "found 'idx-alone/train-labels-idx1-ubyte' without its images: put the file of images beside it"
    ),
    'load_images("idx-fewer")': (
        "found 6 images in 'idx-fewer/train-images-idx3-ubyte' and 4 labels in 'idx-fewer/train-labels-idx1-ubyte', "
        "expected one label an image: get both files again"
    ),
    'load_images("idx-none")': (
        "found no images in 'idx-none' (train-images-idx3-ubyte), expected at least one: get the files again"
    ),
    'load_images("idx-cut")': (
        "found 3455 values in 'idx-cut/train-images-idx3-ubyte', expected 3456, as its head says: get it again"
    ),
    'load_images("idx-longer")': (
        "found more values in 'idx-longer/train-images-idx3-ubyte', expected 3456, as its head says: get it again"
    ),
    'load_images("idx-page")': (
        "cannot read 'idx-page/train-labels-idx1-ubyte': expected an IDX file of bytes in 1 dimension; get it again"
    ),
    'load_images("idx-head")': "cannot read 'idx-head/train-images-idx3-ubyte': it is cut short; get it again",
    'load_images("idx-gzip")': (
        "cannot read 'idx-gzip/train-images-idx3-ubyte.gz': Compressed file ended before the end-of-stream marker was "
        "reached; get it again"
    ),
    'load_images("nobody/no-such-set")': (
        "'nobody/no-such-set' is no path here, and as a name on the Hugging Face Hub it could not be loaded "
        "(ConnectionError: Couldn't reach 'nobody/no-such-set' on the Hub (OfflineModeIsEnabled)): check the spelling "
        "and the connection, or give a folder"
    ),
    'load_images("row.parquet")': "found no data 'row.parquet': did you mean 'rows.parquet'?",
    'load_for_scoring("phone", ["ant"], image_size=8, channels=1)': (
        "found no labelled images for test in 'phone': give labelled ones, or another split"
    ),
    'load_for_scoring("phone", ["ant"], split="all", image_size=8, channels=1)': (
        "found no labelled images in 'phone': give labelled ones, or another split"
    ),
    'load_folder_for_prediction("images", image_size=8, channels=2)': (
        "none of the images of 'images' for training or prediction can be read; the first, bomb.png: it has more "
        "pixels than the 178956970 that are read"
    ),
    'load_masked("masks-255")': (
        "found the value 255 in the mask of 'images/0.png', and 1, 127, 128, ... in the training masks: if 255 marks "
        "pixels that count for nothing, say so by ignore_value=255 (--ignore-value 255); if masks were smoothed, or "
        "saved as JPEG, save them again as they were drawn"
    ),
    'load_masked("masks-many")': (
        "found 576 values in the training masks (576 in that of 'images/0.png'), at most 254 classes are learned: if "
        "they number objects (instance masks), give all objects of a class one value"
    ),
    'load_masked("masks-blank")': (
        "found nothing but background in 2 training masks (images/0.png, images/2.png), expected at least one that "
        "shows something: use more masks, another seed, or mend them"
    ),
    'load_masked("masks-two")': (
        "found 2 masks in 'masks-two', too few to hold some out for validation: draw masks of at least three images, "
        "or give a split"
    ),
    'load_masked("masks-two", channels=0)': "found 0 for channels, expected at least 1",
    'load_masked("masks-two", channels=2, testing=False)': (
        "found 1 channel in 'images/0.png', asked for 2: only 1 and 3 are converted to each other"
    ),
    'load_masked("masks-two", ignore_value=-1)': "found -1 for the ignore value, expected at least 0",
    'load_masked("masks-two", group="patient")': (
        "found no column 'patient' for groups in 'masks-two': found no columns; groups come from a table"
    ),
    'load_masked("masks-three", classes=["background", "foreground"])': (
        "found masks of 3 values (0, 1, 2), the network knows background and foreground: give masks of two values"
    ),
    'load_masked("masks-three", classes=["background", "cell"])': (
        "found a network of the classes background, cell, expected the values that they have in masks: give one that "
        "was trained on such masks"
    ),
    'load_masked("masks-unread")': "none of the images and masks for test in 'masks-unread' can be read: replace them",
    'load_masked("masks-alike")': (
        "found 'images/0.bmp' and 'images/0.png' in 'masks-alike', of the same name up to the suffix: which belongs to "
        "which is matched by name, rename or remove one"
    ),
    'load_masked("masks-alone")': "found 1 mask and no images in 'masks-alone': expected them in images/",
    'load_masked("masks-phone", strict=True)': (
        "cannot read 'images/1.heic': this format is not read; export it as PNG, TIFF or NIfTI"
    ),
    'load_masked("masks-kinds", testing=False)': (
        "found 1 flat image (images/0.png) and 1 volume (images/1.tif), expected one kind: divide them; a TIFF of "
        "several pages is a volume, unless it names them channels (axes CYX)"
    ),
    'load_masked("masks-axes", testing=False)': (
        "found the axes RAS in 'images/0.nii' and LAS in its mask 'masks/0.nii': store both in one orientation"
    ),
    'load_masked("mask-text.parquet")': (
        "found the column 'mask' of the type string in 'mask-text.parquet', expected an encoded image a row"
    ),
    'load_masked("mask-alone.parquet")': (
        "found masks and no images in 'mask-alone.parquet', expected the columns image and mask"
    ),
    'load_masked("test-masks.parquet")': (
        "found only masks of validation or test in 'test-masks.parquet', expected some to train on: give these too"
    ),
    'load_masked("test-masks.parquet", need_masks=False)': (
        "found only images of validation or test in 'test-masks.parquet', expected some to train on: give these too"
    ),
    'load_for_segmentation("masks-alone", channels=1)': (
        "found 1 mask and no images in 'masks-alone': expected them in images/"
    ),
    'load_for_segmentation("nothing", channels=1)': (
        "found no image or folder of images 'nothing': check the spelling and the working directory"
    ),
    'load_for_segmentation("volumes", channels=1)': (
        "none of the images of 'volumes' for training or prediction can be read; the first, axes.nii: a NIfTI file of "
        "shape (2, 2, 2, 70) is no volume of at most 64 channels"
    ),
    'load_stream("texts")': (
        "found no images in 'texts', only 3 other files (2 .txt, 1 .md): expected PNG, JPEG, TIFF, DICOM, ... or "
        "parquet files or .tar shards of images"
    ),
    'load_stream("texts/a.txt")': (
        "found the file 'texts/a.txt', streams are read from folders, .parquet and .tar: leave out --stream"
    ),
    'load_stream("phone", strict=True)': "cannot read '1.heic': this format is not read; export it as PNG or TIFF",
    'load_stream("nowhere.tar")': "found no data 'nowhere.tar': check the spelling and the working directory",
    'load_stream("nobody/no-such-set")': (
        "'nobody/no-such-set' is no path here, and as a name on the Hugging Face Hub it could not be found "
        "(ConnectionError: Couldn't reach 'nobody/no-such-set' on the Hub (OfflineModeIsEnabled)): check the spelling "
        "and the connection, or give a folder"
    ),
    'load_stream("twice", workers=-1)': "found -1 workers, expected 0 or more",
    'load_stream("twice", unlabelled="twice/ant")': (
        "'twice/ant' and 'twice' lie within each other, so that images held out from one would come back by the other: "
        "give folders that are apart"
    ),
    'load_stream("untested", workers=0)': (
        "none of the first 8 images of 'untested' for one of its sets can be read; the first, test/ant/0.png: the file "
        "is empty"
    ),
    'load_stream("images", workers=0, need_labels=False)': (
        "none of 15 images of 'images' can be read; the first, bomb.png: it has more pixels than the 178956970 that "
        "are read"
    ),
    'load_stream("columns.parquet")': "found no image column in 'columns.parquet' (picture, kind): expected 'image'",
    'load_stream("rows.parquet")': (
        "found no rows in the tables of 'rows.parquet', expected an image in each: download them again"
    ),
    'load_stream("labels.parquet")': (
        "found the label [0] in 'labels.parquet', expected one whole number or text an image"
    ),
    'load_stream("test.parquet", need_labels=False)': (
        "found only images of validation or test in 'test.parquet', expected some to train on: give these too"
    ),
    'load_stream("shards-captions")': (
        "found no images in the shards of 'shards-captions': expected uncompressed .tar files of images"
    ),
    'load_stream("shards-labels")': (
        "found the label '7' in 'shards-labels/0.tar', expected a line of classes.txt (0 to 1)"
    ),
    'load_stream("idx-cut")': "found IDX files in 'idx-cut', which are not read as a stream: leave out --stream",
    "Crops(MaskedSet([], [], []), fitted(), crop=(4, 4), batch_size=1)": (
        "found no images to take crops from, expected at least one"
    ),
    "Crops(some_masks(), fitted(whiten=True), crop=(8, 8), batch_size=1)": (
        "found the crop (8, 8), whitening works in flat tiles of 32 x 32: choose multiples of 32, or no whitening"
    ),
    "Batches(some_images(), fitted(), batch_size=1, shuffle=True, rank=2, world_size=2)": (
        "found the rank 2, expected 0 to 1"
    ),
    "StreamBatches(streamed(), fitted(), batch_size=1, shuffle=True, rank=2, world_size=2)": (
        "found the rank 2, expected 0 to 1"
    ),
    "StreamBatches(streamed(), fitted(), batch_size=0, shuffle=True)": "found the batch size 0, expected at least 1",
    'MaskedSet([torch.zeros(1, 4, 4)], [], ["a"])': (
        "expected a mask (or None), a name and a group an image, found counts [0, 1]"
    ),
    'MaskedSet([torch.zeros(4, 4)], [None], ["a"])': (
        "expected images (C, H, W), or all (C, D, H, W), of one C, found (4, 4) and (4, 4) ('a')"
    ),
    'MaskedSet([torch.zeros(1, 4, 4, dtype=torch.int64)], [None], ["a"])': (
        "expected images of uint8, or float32 in [0, 1], found torch.int64 ('a')"
    ),
    "Preprocessing.fit([])": "found no images to fit a preprocessing on, expected at least one",
    "Preprocessing.fit([torch.zeros(1, 4, 4, 4)], whiten=True)": (
        "found volumes, whitening works in flat tiles: leave whitening out"
    ),
    "Preprocessing.fit([torch.zeros(1, 4, 4)], whiten=True)": (
        "found no image of at least 32 x 32 pixels to whiten: leave whitening out"
    ),
    "fitted(whiten=True)(torch.zeros(2, 1, 20, 20))": (
        "found images of 20 x 20 pixels, whitening works in tiles of 32 x 32: choose an image size of 32 or 64, or no "
        "whitening"
    ),
    "fitted(whiten=True)(torch.zeros(2, 1, 4, 4, 4))": (
        "found volumes (2, 1, 4, 4, 4), this preprocessing whitens flat images (N, C, H, W)"
    ),
    "fitted()(torch.zeros(2, 3, 4, 4))": "found images (2, 3, 4, 4), expected (N, 1, H, W)",
    "Preprocessing(torch.zeros(1), torch.ones(1), 4, torch.eye(3), torch.zeros(3))": (
        "found whitening and tile mean of shapes [(3, 3), (3,)], expected (16, 16), (16,)"
    ),
    "Preprocessing.from_saved({}, {})": "found no usable preprocessing beside the weights: save them again",
    "Preprocessing.from_saved(Preprocessing(torch.zeros(1), torch.zeros(1), 4).metadata(), {})": (
        "found the means [0.0] and deviations [0.0] beside the weights, expected finite numbers, and deviations above "
        "0: save them again"
    ),
    'Preprocessing.from_saved(fitted().metadata() | {"channels": "3"}, {})': (
        "found 1 mean, 1 deviation and no whitening matrix for 3 channels and tile 0 beside the weights: save them "
        "again"
    ),
    'labelled_subset(torch.zeros(3, dtype=torch.int64), "1", seed=0, groups=["a"])': (
        "found 1 group for 3 labels, expected one an image"
    ),
    'labelled_subset(torch.tensor([0, 0, 1, 1]), "2", seed=0, groups=["a", "a", "a", "a"])': (
        "asked for 2 labels, but a draw takes whole groups, and the smallest with every class has 4 images: ask for at "
        "least 4"
    ),
    'labelled_subset(torch.tensor([-1]), "1/class", seed=0)': (
        "found the amount of labels '1/class', but no labels in the training images: give some"
    ),
}
"""What is said of sets, and of what is done with them."""
