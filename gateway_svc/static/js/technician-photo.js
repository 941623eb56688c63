// A phone's camera makes pictures of many megabytes; what the desk needs to see fits into 1280 pixels.

const SIDE = 1280;
const BYTES_MAX = 1024 * 1024;
const QUALITIES = [0.82, 0.7, 0.55, 0.4];

const encode = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));

/** The picture as a JPEG of at most SIDE pixels and BYTES_MAX bytes, upright, without what the camera wrote about place
 * and time. Throws where `file` is no picture. */
export async function shrink(file) {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  for (const quality of QUALITIES) {
    const blob = await encode(canvas, quality);
    if (blob && blob.size <= BYTES_MAX) return blob.arrayBuffer();
  }
  throw new Error("the picture stays too large");
}
